"""Fold a journal of 10,000 experiments: prints the seconds, the memory of a loop with its state, and what the loop's steps take then.

    python benchmarks/journal.py [--experiments 10000]
    python benchmarks/journal.py --against TREE [--rounds 3]    in turns with another version, the median of each step

A step is timed as the loop makes it: after one more experiment with a verdict.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import msgspec
import psutil

from core.agents.base import Context, PastExperiment
from core.agents.search.agent import Search
from core.change import edits
from core.judging import schedule
from core.judging.run_noise import RunNoise
from core.model import Notes, Proposal, Role, RunConfig
from core.record import events as ev
from core.record import journal
from core.record.fold import apply, fold
from core.record.revisions import Revisions
from core.record.state import State
from core.reporting.tables import Tables
from core.verdicts import Verdict
from nanochat.contract.job import Outcome, Result

STEP = re.compile(r"^(.+): ([\d.]+) ms$", re.MULTILINE)  # a line of this program


def write(path: Path, experiments: int) -> None:
    """Write a journal like that of a run of `search`: six events per experiment, every 20th experiment kept."""
    config = RunConfig(
        name="bench", dataset="python", data="x", fingerprint="f", device="cpu", profile="cpu", budget_s=60, seq_len=256,
        vocab_size=2048, eval_tokens=94208, seed=1, slots=1, base_commit="0" * 40, noise_prior=0.008,
    )  # fmt: skip
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as file:

        def put(event: ev.Event) -> None:
            file.write(encode(msgspec.structs.replace(event, t=1.7e9)) + b"\n")

        put(ev.Created(v=ev.SCHEMA, config=config))
        put(ev.StartCommit(commit="f" * 40, source_hash="s", nodes=2000))
        result = Result(job="j000000", outcome=Outcome.SCORED, val_bpb=1.6, steps=400, total_wall_s=66.0)
        put(
            ev.Measured(role=Role.BASELINE, commit="f" * 40, seed=1, result=result)
        )  # without it the night is not drawn
        parent = "f" * 40
        for number in range(1, experiments + 1):
            kept = number % 20 == 0
            for event in experiment(number, parent, kept=kept):
                put(event)
            parent = f"{number:040x}" if kept else parent


def experiment(number: int, parent: str, *, kept: bool = False) -> Iterator[ev.AnyEvent]:
    """Yield the six events of an experiment."""
    parts = {"fork": 0.05, "preflight": 0.4, "setup": 0.2, "training": 60.0, "scoring": 4.0, "cleanup": 0.02}
    commit, job = f"{number:040x}", f"j{number:06d}"
    yield ev.Proposed(
        number=number, commit=commit, parent=parent, fingerprint=commit, agent="search", charter="c" * 12,
        hypothesis="Raise the matrix learning rate from 0.02 to 0.03, since the loss still falls at the end.",
        topic="optimizer", notes=Notes(knobs={"MATRIX_LR": 0.03}), added=1, removed=1, nodes=2000,
    )  # fmt: skip
    yield ev.Approved(number=number, by="auto")
    yield ev.Launched(job=job, role=Role.CANDIDATE, commit=commit, seed=1, slot=0, number=number)
    yield ev.Processes(job=job, pids=((1000, 1.7e6), (1001, 1.7e6)), boot="b" * 52)
    yield ev.Measured(
        role=Role.CANDIDATE, commit=commit, seed=1, number=number,
        result=Result(
            job=job, outcome=Outcome.SCORED, val_bpb=1.6, steps=400, tokens=819200, charged_s=60.0, cpu_s=60.0,
            wall_s=61.0, total_wall_s=66.0, parts=parts, pace=(6.6,) * 4,
        ),
    )  # fmt: skip
    yield ev.Judged(
        number=number, verdict=Verdict.KEEP if kept else Verdict.DISCARD, commit=commit if kept else "", gain=0.001, pairs=1,
        finding="Inconclusive: 0.0004 bpb worse on one seed; a loss of 0.0160 would count as worse.",
    )  # fmt: skip


def steps(state: State, folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what the loop does again and again, whose time may grow with the number of experiments: a name and a function."""
    revisions = Revisions(state)
    noise, tables = RunNoise(state, revisions), Tables(folder, state, revisions)
    sigma = noise.present.sigma
    source = (ROOT / "nanochat" / "train.py").read_text(encoding="utf-8")
    parent = edits.fingerprint(source)
    past = tuple(
        PastExperiment(
            number=one.number, parent=parent, fingerprint=one.fingerprint, verdict=Verdict.DISCARD, gain=-0.001, seeds=(1,),
            proposal=Proposal(hypothesis=one.hypothesis, agent=Search.name, notes=one.notes),
            constants={"MATRIX_LR": (0.02, 0.02 + one.number * 1e-6)},
        )
        for one in state.experiments.values()
    )  # fmt: skip
    context = Context(
        charter="", source=source, parent=parent, number=len(past) + 1, seed=1, sigma=sigma, past=past,
        tried={one.fingerprint: one.number for one in past}, proposed={Search.name: len(past)},
    )  # fmt: skip

    def verdict() -> None:
        """Add an experiment with a verdict, as a loop does."""
        for event in experiment(state.next_number, state.incumbent):
            apply(state, event)
            revisions.note(event)

    def publish() -> None:
        """Do what a loop does about the files after a verdict."""
        verdict()
        if tables.due:
            tables.write(noise.present)

    def estimate() -> None:
        verdict()
        assert noise.present.sigma > 0

    def write_now() -> None:
        verdict()
        tables.write(noise.present)

    yield "the noise, estimated", estimate
    yield "the next trainings", lambda: list(schedule.next_work(state, sigma))
    yield "results.tsv and notebook.md, when they are due", write_now
    yield "results.tsv and notebook.md", publish
    yield "a proposal of search", lambda: Search().propose_now(context)


def timed(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of three calls, after a first one."""
    work()
    found = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def alternating(other: Path, count: int, rounds: int) -> None:
    """Print the median of each step in another version and in this one. The two take turns, each in a process of its own."""
    found: dict[str, dict[Path, list[float]]] = {}
    for _ in range(rounds):
        for tree in (other, ROOT):
            command = [sys.executable, str(tree / "benchmarks" / "journal.py"), "--experiments", str(count)]
            output = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=True).stdout
            for name, figure in STEP.findall(output):
                found.setdefault(name, {}).setdefault(tree, []).append(float(figure))
    print(f"{count} experiments, {rounds} rounds, median ms{'before':>27}{'now':>10}")
    for name, figures in found.items():
        cells = [f"{statistics.median(figures[tree]):.1f}" if tree in figures else "-" for tree in (other, ROOT)]
        print(f"{name:<50}{cells[0]:>10}{cells[1]:>10}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--against", type=Path, help="the source tree of another version")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    count = options.experiments
    if options.against is not None:
        alternating(options.against.resolve(), count, options.rounds)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / journal.NAME
        write(path, count)
        size = path.stat().st_size
        began = time.perf_counter()
        state = fold(journal.read(path))
        seconds = time.perf_counter() - began
        assert len(state.experiments) == count
        print(f"{count} experiments, journal {size / 1e6:.1f} MB")
        print(f"fold: {seconds:.3f} s (aim: 0.4 s)")
        import core.session  # noqa: F401  imported as in the loop's process

        print(f"memory of a loop that holds it: {psutil.Process().memory_info().rss / 1e6:.0f} MB (aim: 150 MB)")
        for name, work in steps(state, Path(folder)):
            print(f"{name}: {1000 * timed(work):.1f} ms")


if __name__ == "__main__":
    main()
