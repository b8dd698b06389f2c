"""Measure whether the loop keeps many slots busy: trainings per hour against the number of slots, and where its time goes.

    python benchmarks/scale.py [--slots 1 2 4 8 16 32 64] [--seconds 20] [--rounds 4]    computed scores that take so long
    python benchmarks/scale.py --executor local ray --slots 1 2 --seconds 20             real trainings of this budget

Each line is a run of the real loop with `search`: proposals, commits and journal are real. Its columns:

    filled     seconds from the first training after the baseline until each slot has one: proposals come one after another
    /h         trainings per hour from then on, until the last new experiment begins
    share      that rate, divided by the slots times the rate of one slot (of the first value of --slots, per slot)
    busy       share of the slots' time in which a job ran, in the whole run after the baseline, its end included
    gap        median seconds from the end of a job to the start of the next one in the same slot
    CPU, kB    CPU seconds of the loop and kilobytes of journal per training, the start of the run included

The second table has milliseconds per training by part (timed_loop.py), and how many trainings per hour the thread of the loop could
record and start if it did nothing else.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import msgspec
import psutil

from core.execution.deterministic import World
from core.model import Role
from core.record import events as ev
from core.record import journal

COMPUTED = "deterministic"
NOISE = 0.004  # of a computed score
ASKING = "asking"  # the part that is no work of the loop's thread
AIM = 0.9  # of the rate of one slot, for each slot


@dataclass(frozen=True)
class Found:
    """A run with `slots` slots. Times in seconds."""

    slots: int
    trainings: int
    span_s: float  # from the first job after the baseline to the end of the last one
    busy_s: float  # of all slots together, within the span
    gaps: tuple[float, ...]
    filled_s: float  # until each slot has had a job
    rate: float  # trainings per second from then on, until the last new experiment begins
    loop_s: float = 0.0  # CPU time of the loop
    journal_bytes: int = 0
    parts: Mapping[str, float] = field(default_factory=dict)  # of the loop's work -> wall time

    @property
    def busy(self) -> float:
        return self.busy_s / (self.slots * self.span_s)


@dataclass(frozen=True)
class Training:
    """A training after the baseline. Times in seconds since the epoch."""

    slot: int
    begun: float
    ended: float
    fresh: bool  # the first one of an experiment

    def within(self, begin: float, end: float) -> float:
        """Return which share of it lies between two times."""
        length = self.ended - self.begun
        return max(0.0, min(self.ended, end) - max(self.begun, begin)) / length if length > 0 else 0.0


def run(executor: str, slots: int, seconds: float, rounds: int) -> Found:
    """Run the loop in a clone until each slot has had so many trainings, and read its journal."""
    with tempfile.TemporaryDirectory() as logs:
        tree = Path(logs) / "tree"  # a clone, so that this repository gets no refs of the run
        subprocess.run(["git", "clone", "-q", str(ROOT), str(tree)], check=True)
        spec = executor
        if executor == COMPUTED:
            table = Path(logs) / "world.json"
            table.write_bytes(msgspec.json.encode(World(noise=NOISE, seeds=NOISE, seconds=seconds)))
            spec = f"{COMPUTED}:{table}"
        parts = Path(logs) / "parts.json"
        command = [
            sys.executable, "benchmarks/timed_loop.py", str(parts), "--headless", "--name", "scale", "--logs", logs, "--seed", "1",
            "--slots", str(slots), "--budget", str(seconds), "--max-experiments", str(slots * rounds), "--agent", "search",
            "--no-report", "--no-earlier", "--executor", spec,
        ]  # fmt: skip
        loop_s = _cpu_of(command, tree)
        path = Path(logs) / "scale" / journal.NAME
        found = summed(journal.read(path), slots)
        times = msgspec.json.decode(parts.read_bytes(), type=dict[str, float])
        return replace(found, loop_s=loop_s, journal_bytes=path.stat().st_size, parts=times)


def _cpu_of(command: list[str], tree: Path) -> float:
    """Run a command and return its CPU time, without that of its children."""
    process = subprocess.Popen(command, cwd=tree, stdout=subprocess.DEVNULL)
    seen, used = psutil.Process(process.pid), 0.0
    try:
        while process.poll() is None:
            try:
                times = seen.cpu_times()
                used = times.user + times.system
            except psutil.Error:
                break
            time.sleep(0.2)
        if process.wait():
            raise SystemExit(f"the run ended with exit code {process.returncode}")
        return used
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def summed(events: Iterable[ev.Event], slots: int) -> Found:
    """Return the figures of a journal. The baseline is left out, since the other slots have nothing to do yet."""
    launched: dict[str, ev.Launched] = {}
    found: list[Training] = []
    for event in events:
        if isinstance(event, ev.Launched):
            launched[event.job] = event
        elif isinstance(event, ev.Measured) and event.job in launched:
            begun = launched[event.job]
            if begun.role is not Role.BASELINE:
                found.append(Training(begun.slot, begun.t, event.t, begun.role is Role.CANDIDATE))
    if not found:
        raise SystemExit("the run trained nothing after its baseline")
    first, last = min(one.begun for one in found), max(one.ended for one in found)
    by_slot = [sorted((one for one in found if one.slot == slot), key=lambda one: one.begun) for slot in range(slots)]
    filled = max((jobs[0].begun for jobs in by_slot if jobs), default=first)
    gaps = [after.begun - before.ended for jobs in by_slot for before, after in pairwise(jobs)]
    return Found(
        slots, len(found), last - first, sum(one.ended - one.begun for one in found), tuple(gaps), filled - first,
        _rate(found, filled),
    )  # fmt: skip


def _rate(found: Sequence[Training], filled: float) -> float:
    """Return the trainings per second from `filled` until the last new experiment begins; nan if none begins then."""
    end = max((one.begun for one in found if one.fresh), default=filled)
    return sum(one.within(filled, end) for one in found) / (end - filled) if end > filled else float("nan")


def line(executor: str, found: Found, alone: float) -> str:
    """Return the figures of a run. `alone`: the rate of one slot."""
    gap = statistics.median(found.gaps) if found.gaps else float("nan")
    return (
        f"{executor:<14}{found.slots:>6}{found.trainings:>11}{found.filled_s:>10.1f}{3600 * found.rate:>9.0f}"
        f"{found.rate / (alone * found.slots):>8.0%}{found.busy:>7.0%}{gap:>8.2f}{found.loop_s / found.trainings:>8.2f}"
        f"{found.journal_bytes / found.trainings / 1000:>7.1f}"
    )


def parts_line(executor: str, found: Found) -> str:
    """Return the milliseconds per training by part, their sum without the agent's, and the trainings per hour that this allows."""
    each = {part: seconds / found.trainings for part, seconds in found.parts.items()}
    loop = sum(seconds for part, seconds in each.items() if part != ASKING)
    cells = "".join(f"{1000 * seconds:>11.1f}" for seconds in each.values())
    return f"{executor:<14}{found.slots:>6}{cells}{1000 * loop:>11.1f}{3600 / loop if loop else float('nan'):>11.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--seconds", type=float, default=20.0, help="of a training")
    parser.add_argument("--rounds", type=int, default=4, help="experiments for each slot")
    parser.add_argument("--executor", nargs="+", choices=(COMPUTED, "local", "ray"), default=[COMPUTED])
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the run is ended as well
    print(
        f"{'executor':<14}{'slots':>6}{'trainings':>11}{'filled s':>10}{'/h':>9}{'share':>8}{'busy':>7}{'gap s':>8}{'CPU s':>8}{'kB':>7}"
    )
    done: list[tuple[str, Found]] = []
    for executor in options.executor:
        alone = 0.0
        for slots in options.slots:
            found = run(executor, slots, options.seconds, options.rounds)
            alone = alone or found.rate / slots
            done.append((executor, found))
            print(line(executor, found, alone), flush=True)
    names = "".join(f"{part:>11}" for part in done[0][1].parts)
    print(f"\nms per training by part (aim: a share of {AIM:.0%})")
    print(f"{'executor':<14}{'slots':>6}{names}{'loop':>11}{'at most /h':>11}")
    for executor, found in done:
        print(parts_line(executor, found))


if __name__ == "__main__":
    main()
