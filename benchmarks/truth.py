"""Measure how the machine affects scores, and whether verdicts are right. Nothing is asserted.

    python benchmarks/truth.py --repeats 12 [--budgets 20 60] [--quiet 4] [--out FILE]   one train.py on one seed, with and
                                                                       without the gauge, quiet and under a load
    python benchmarks/truth.py --night 60 [--budget 60] [--slots 1] [--no-load] [--keep FOLDER]   an A/A night: edits without
                                                                       effect, in the real loop under the load
    python benchmarks/truth.py --independence 100                      the gauge's readings beside four kinds of trainers
    python benchmarks/truth.py --slots-compare 6 [--budget 60]         rounds of one and of two trainings at once
    python benchmarks/truth.py --establish 12 [--budget 60] [--slots 2] true effects of ten edits over 12 seeds, to effects.jsonl
    python benchmarks/truth.py --effects [--budget 60] [--keep FOLDER] a night of these ten edits, in the real loop under the load
    python benchmarks/truth.py --read FILE                             the report of such a file, or of a journal, again

The load switches at random between no, one and two busy neighbours (load.py). Measurements in the files or folders of --out,
--established and --keep are continued.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import effects
import independence
import night
import repeats
import slots
import trainings

from core.machine import profiles
from core.record import journal


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--repeats", type=int, metavar="N", help="N loaded trainings with the gauge and N without")
    mode.add_argument("--night", type=int, metavar="N", help="N edits that do nothing, through the real loop")
    mode.add_argument("--independence", type=int, metavar="N", help="N rounds of trainers of four kinds, quiet")
    mode.add_argument(
        "--slots-compare", type=int, metavar="N", help="N rounds of one and of two trainings at once, quiet"
    )
    mode.add_argument("--establish", type=int, metavar="N", help="true effects of ten edits, N seeds, quiet")
    mode.add_argument("--effects", action="store_true", help="these ten edits, through the real loop")
    mode.add_argument(
        "--read", type=Path, metavar="FILE", help="print the figures of a file of --out, or of a night's journal"
    )
    parser.add_argument(
        "--budgets", type=float, nargs="+", default=[20.0, 60.0], help="seconds of the trainings of --repeats"
    )
    parser.add_argument("--quiet", type=int, default=4, help="quiet pairs of --repeats")
    parser.add_argument("--budget", type=float, help="seconds of a training, but for --repeats (60)")
    parser.add_argument("--slots", type=int, default=1, help="trainings at once in a night, or of --establish")
    parser.add_argument("--seed", type=int, default=1, help="seed of a night: of its run and of the choice of edits")
    parser.add_argument(
        "--load", action=argparse.BooleanOptionalAction, default=True, help="whether a night is under the load"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep a night's clone, script and logs there")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write each training to FILE as it ends")
    parser.add_argument(
        "--established", type=Path, default=effects.ESTABLISHED, metavar="FILE", help="the true effects (effects.jsonl)"
    )
    parser.add_argument("--load-seed", type=int, default=1, help="seed of the load")
    parser.add_argument("--profile", choices=tuple(profiles.PROFILES), help="default: the one of this machine's CPU")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that child processes are ended
    try:
        print("\n".join(run(options)))
    except trainings.Unmeasured as error:
        sys.exit(f"Nothing more was measured: {error}")


def run(options: argparse.Namespace) -> list[str]:
    """Run the chosen mode and return its report, as lines. Raises Unmeasured."""
    if options.read is not None:
        return read(options.read, options.established)
    profile = trainings.this_machine(options.profile)
    print(trainings.heading(profile), flush=True)
    if options.night is not None:
        return a_night(options, profile)
    if options.effects:
        return effects_night(options, profile)
    if options.independence is not None:
        return independent(options.independence, profile)
    record = trainings.Record(options.out if options.establish is None else options.established)
    try:
        asyncio.run(measurement(options, profile, record))
    except KeyboardInterrupt:
        print("Interrupted; the figures so far:")
    return figures_of(record.rows)


def independent(rounds: int, profile: profiles.Profile) -> list[str]:
    """Read the gauge beside four kinds of trainers, and return the report. Raises Unmeasured."""
    turns: list[independence.Turn] = []
    try:
        independence.measure(profile, rounds, turns)
    except KeyboardInterrupt:
        print("Interrupted; the figures so far:")
    return independence.report(turns)


def measurement(
    options: argparse.Namespace, profile: profiles.Profile, record: trainings.Record
) -> Coroutine[Any, Any, None]:
    """Return the coroutine that runs the chosen series of trainings. It raises Unmeasured."""
    if options.establish is not None:
        return effects.establish(profile, record, options.establish, options.budget or 60.0, options.slots)
    if options.slots_compare is not None:
        return slots.measure(profile, record, options.slots_compare, options.budget or 60.0)
    print(f"seed of the load: {options.load_seed}", flush=True)
    return repeats.measure(profile, record, options.budgets, options.repeats, options.quiet, options.load_seed)


def figures_of(rows: Sequence[trainings.Row]) -> list[str]:
    """Return a report of single trainings, as lines."""
    reports = {"slots": slots.report, effects.MODE: established}
    if not rows:
        return ["No training was recorded."]
    modes = {row.mode for row in rows}
    return [
        line for mode in sorted(modes) for line in reports.get(mode, repeats.report)(r for r in rows if r.mode == mode)
    ]


def established(rows: Iterable[trainings.Row]) -> list[str]:
    """Return a report of true effects by profile and budget, as lines."""
    found = list(rows)
    lines = []
    for profile, budget in sorted({(row.profile, row.budget_s) for row in found if row.name in effects.EDITS}):
        lines += [
            "",
            f"profile {profile}, {budget:g} s",
            *effects.report_truth(effects.truth(effects.of(found, profile, budget))),
        ]
    return lines


def read(path: Path, known: Path) -> list[str]:
    """Return the report of a recorded file. `known` is the file of true effects. Raises Unmeasured."""
    if not is_journal(path):
        return figures_of(trainings.read(path))
    told = night.tally(journal.read(path))
    return effects_of(told, known) if set(told.words.values()) & set(effects.EDITS) else night.report(told)


def is_journal(path: Path) -> bool:
    """Return whether a file is the journal of a run, which begins with the run's header."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        return b'"type":"created"' in file.readline()
    return False


def effects_of(told: night.Tally, known: Path) -> list[str]:
    """Return a report of a night's verdicts on the edits with known true effects. Raises Unmeasured."""
    return effects.report(told, effects.established(known, told.profile, told.budget_s))


def effects_night(options: argparse.Namespace, profile: profiles.Profile) -> list[str]:
    """Run a night of edits with known effects and return its report. Raises Unmeasured, at once if no effects are known."""
    effects.established(options.established, profile.name, options.budget or 60.0)
    with settings(options) as chosen:
        return effects_of(night.tally(night.run(effects.entries(), chosen)), options.established)


def a_night(options: argparse.Namespace, profile: profiles.Profile) -> list[str]:
    """Run an A/A night and return its report. Raises Unmeasured."""
    entries = night.useless(profile, options.night, options.seed)
    with settings(options) as chosen:
        return night.report(night.tally(night.run(entries, chosen)))


@contextlib.contextmanager
def settings(options: argparse.Namespace) -> Iterator[night.Settings]:
    """Yield the settings of a night, with the folder of --keep or a temporary one."""
    load = f"{options.load_seed}/night" if options.load else ""
    print(f"seed of the load: {load}" if load else "no load", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        yield night.Settings(folder, options.profile, options.budget or 60.0, options.slots, options.seed, load)


if __name__ == "__main__":
    main()
