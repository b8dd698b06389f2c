"""What the machine does to a verdict, and whether verdicts are right. Nothing is asserted.

    python benchmarks/truth.py --repeats 12 [--budgets 20 60] [--quiet 4] [--out FILE]   one train.py, one seed, with and
                                                                       without the gauge, quiet and under a load
    python benchmarks/truth.py --read FILE                             the table of such a file again

A load switches at random between no, one and two busy neighbours (load.py). A file of --out is continued where it stops.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import repeats
import trainings

from core import profiles


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--repeats", type=int, metavar="N", help="N loaded trainings with the gauge and N without")
    mode.add_argument("--read", type=Path, metavar="FILE", help="print the figures of a file that --out wrote")
    parser.add_argument(
        "--budgets", type=float, nargs="+", default=[20.0, 60.0], help="seconds of the trainings of --repeats"
    )
    parser.add_argument("--quiet", type=int, default=4, help="quiet pairs of --repeats")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write each training to FILE as it ends")
    parser.add_argument("--load-seed", type=int, default=1, help="seed of the load")
    parser.add_argument("--profile", choices=tuple(profiles.PROFILES), help="default: the one of this machine's CPU")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    try:
        print("\n".join(run(options)))
    except trainings.Unmeasured as error:
        sys.exit(f"Nothing more was measured: {error}")


def run(options: argparse.Namespace) -> list[str]:
    """The wanted mode: what it measured, as lines. Raises Unmeasured."""
    if options.read is not None:
        return repeats.report(trainings.read(options.read))
    profile, record = trainings.this_machine(options.profile), trainings.Record(options.out)
    print(trainings.heading(profile), flush=True)
    print(f"seed of the load: {options.load_seed}", flush=True)
    try:
        asyncio.run(
            repeats.measure(profile, record, options.budgets, options.repeats, options.quiet, options.load_seed)
        )
    except KeyboardInterrupt:
        print("Interrupted; the figures so far:")
    return repeats.report(record.rows)


if __name__ == "__main__":
    main()
