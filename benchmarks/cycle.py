"""Measure the time of a run that is not spent on training, with a real run of short experiments.

    python benchmarks/cycle.py [--experiments 6] [--budget 5] [--executor local|ray]

For each job it prints the seconds of the loop between jobs (propose, commit, record) and those of each part of the harness.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core.record import events as ev
from core.record import journal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=6)
    parser.add_argument("--budget", type=float, default=5.0)
    parser.add_argument("--executor", default="local")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the run is ended as well
    with tempfile.TemporaryDirectory() as logs:
        tree = Path(logs) / "tree"  # a clone, so that this repository gets no refs of the run
        subprocess.run(["git", "clone", "-q", str(ROOT), str(tree)], check=True)
        subprocess.run(
            [sys.executable, "autorun.py", "--headless", "--name", "cycle", "--logs", logs, "--seed", "1", "--slots", "1",
             "--budget", str(options.budget), "--max-experiments", str(options.experiments), "--no-report", "--executor", options.executor],
            cwd=tree, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        events = list(journal.read(Path(logs) / "cycle" / journal.NAME))
    report([event for event in events if isinstance(event, ev.Launched | ev.Measured)])


def report(events: list[ev.Launched | ev.Measured]) -> None:
    """Print the seconds by part for each job but the baseline, which also starts the harness, and the medians."""
    rows, last = [], 0.0
    for launched, measured in zip(events[::2], events[1::2], strict=True):
        assert isinstance(launched, ev.Launched) and isinstance(measured, ev.Measured)
        parts = measured.result.parts
        inside = (
            measured.result.total_wall_s
            - parts.get("training", 0.0)
            - parts.get("scoring", 0.0)
            + parts.get("setup", 0.0)
        )
        between = launched.t - last if last else 0.0
        around = measured.t - launched.t - measured.result.total_wall_s
        if last:
            rows.append({
                "between": between, "around": around, "preflight": parts.get("preflight", 0.0), "setup": parts.get("setup", 0.0),
                "cleanup": parts.get("cleanup", 0.0), "outside": inside + between + around,
                "gauge": measured.result.speed.stopped_s if measured.result.speed else 0.0,
                "training": parts.get("training", 0.0) - parts.get("setup", 0.0), "scoring": parts.get("scoring", 0.0),
            })  # fmt: skip
        last = measured.t
    names = list(rows[0])
    print("  ".join(f"{name:>9}" for name in names))
    for row in rows:
        print("  ".join(f"{row[name]:9.3f}" for name in names))
    medians = {name: statistics.median(row[name] for row in rows) for name in names}
    print("  ".join(f"{medians[name]:9.3f}" for name in names), "  median")
    rest = medians["outside"] + medians["scoring"]
    print(
        f"median stopped for readings of the gauge: {medians['gauge'] / medians['training']:.1%} of the training (aim: 3% at 60 s)"
    )
    print(f"median around the harness (files, dispatch, return): {medians['around']:.3f} s")
    print(f"median outside training and scoring: {medians['outside']:.2f} s (aim: 1.0 s)")
    print(f"at a 60 s budget that is {60 / (60 + rest):.0%} of the wall time in training (aim: 90%)")


if __name__ == "__main__":
    main()
