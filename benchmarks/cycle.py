"""How much of a night is not training: a real run with short experiments, its seconds by part.

    python benchmarks/cycle.py [--experiments 6] [--budget 5]

Per job: what the loop takes between jobs (propose, commit, record), and what the harness takes besides training and scoring.
"""

from __future__ import annotations

import argparse
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
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as logs:
        tree = Path(logs) / "tree"  # a clone, so that no ref of the run stays in this repository
        subprocess.run(["git", "clone", "-q", str(ROOT), str(tree)], check=True)
        subprocess.run(
            [sys.executable, "autorun.py", "--headless", "--name", "cycle", "--logs", logs, "--seed", "1", "--slots", "1",
             "--budget", str(options.budget), "--max-experiments", str(options.experiments)],
            cwd=tree, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        events = list(journal.read(Path(logs) / "cycle" / journal.NAME))
    report([event for event in events if isinstance(event, ev.Launched | ev.Measured)])


def report(events: list[ev.Launched | ev.Measured]) -> None:
    """Seconds by part for each job after the first, and their medians. The baseline pays for starting the harness."""
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
    print(f"median outside training and scoring: {medians['outside']:.2f} s (aim: 1.0 s)")
    print(f"at a 60 s budget that is {60 / (60 + rest):.0%} of the wall time in training (aim: 90%)")


if __name__ == "__main__":
    main()
