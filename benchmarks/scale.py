"""Measure whether the loop keeps many slots busy: trainings per hour against the number of slots.

    python benchmarks/scale.py [--slots 1 2 4 8 16 32 64] [--seconds 20] [--rounds 4]    computed scores that take so long
    python benchmarks/scale.py --executor local ray --slots 1 2 --seconds 20             real trainings of this budget

Each line is a run of the real loop with `search`: proposals, commits and journal are real. `busy` is the share of the slots' time
in which a job ran, with the end of the run, when some are idle; `gap` is the median time from the end of a job to the start of the next one
in the same slot. CPU time and journal are those of the whole run, its start included. The first value of --slots is what others compare with.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Found:
    """A run with `slots` slots. Times in seconds."""

    slots: int
    trainings: int
    span_s: float  # from the first job after the baseline to the end of the last one
    busy_s: float  # of all slots together, within the span
    gaps: tuple[float, ...]
    loop_s: float  # CPU time of the loop
    journal_bytes: int

    @property
    def busy(self) -> float:
        return self.busy_s / (self.slots * self.span_s)


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
        command = [
            sys.executable, "autorun.py", "--headless", "--name", "scale", "--logs", logs, "--seed", "1", "--slots", str(slots),
            "--budget", str(seconds), "--max-experiments", str(slots * rounds), "--agent", "search", "--no-report",
            "--no-earlier", "--executor", spec,
        ]  # fmt: skip
        loop_s = _cpu_of(command, tree)
        path = Path(logs) / "scale" / journal.NAME
        return summed(journal.read(path), slots, loop_s, path.stat().st_size)


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


def summed(events: Iterable[ev.Event], slots: int, loop_s: float, journal_bytes: int) -> Found:
    """Return the figures of a journal. The baseline is left out, since the other slots have nothing to do yet."""
    launched: dict[str, ev.Launched] = {}
    ended: dict[int, float] = {}  # slot -> the end of its latest job
    spans, gaps = [], []
    for event in events:
        if isinstance(event, ev.Launched):
            launched[event.job] = event
            if event.slot in ended and spans:
                gaps.append(event.t - ended[event.slot])
        elif isinstance(event, ev.Measured) and event.job in launched:
            begun = launched[event.job]
            ended[begun.slot] = event.t
            if begun.role is not Role.BASELINE:
                spans.append((begun.t, event.t))
    if not spans:
        raise SystemExit("the run trained nothing after its baseline")
    first, last = min(begun for begun, _ in spans), max(end for _, end in spans)
    busy = sum(end - begun for begun, end in spans)
    return Found(slots, len(spans), last - first, busy, tuple(gaps), loop_s, journal_bytes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--seconds", type=float, default=20.0, help="of a training")
    parser.add_argument("--rounds", type=int, default=4, help="trainings in each slot")
    parser.add_argument("--executor", nargs="+", choices=(COMPUTED, "local", "ray"), default=[COMPUTED])
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the run is ended as well
    print(
        "executor       slots  trainings  trainings/h  of the first        busy    gap s  loop CPU s/training  journal kB/training"
    )
    for executor in options.executor:
        alone = 0.0
        for slots in options.slots:
            found = run(executor, slots, options.seconds, options.rounds)
            rate = found.trainings / found.span_s
            alone = alone or rate / slots
            gap = statistics.median(found.gaps) if found.gaps else float("nan")
            print(
                f"{executor:<14} {slots:>5}  {found.trainings:>9}  {3600 * rate:>11.0f}  {rate / (alone * slots):>19.0%}  "
                f"{found.busy:>5.0%}  {gap:>7.2f}  {found.loop_s / found.trainings:>19.2f}  "
                f"{found.journal_bytes / found.trainings / 1000:>19.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
