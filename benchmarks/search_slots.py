"""Is the search worse with several trainings at once? Simulated nights of the agent `search`. No training, only numbers.

With k slots a proposal is made while k trainings run, so it knows less. And a change is kept after several trainings, one after another: with 16
slots, 100 trainings are over after six of them. Each night has the same number of trainings, whatever the number of slots:
simulated_slots.py describes it, worlds.py the worlds. Printed are the true gain of the best after so many trainings, in standard
deviations of one score, and its ratio to that of one slot in the same worlds, with the standard error over the worlds.

python benchmarks/search_slots.py [--slots 1 2 4 8 16] [--worlds 16] [--trainings 100] [--kinds recorded tangled plain] [--keep FILE]
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from search_worlds import ratio
from simulated_record import Record, Row
from simulated_slots import COUNTED, SlotsNight
from worlds import KINDS, World

SHOWN = (50, 100, 200, 400)  # trainings after which the gain is shown
AIM = 0.85  # of the gain of one slot
ALL = "all"

Nights = Mapping[tuple[str, int], Sequence[Row]]  # kind of world, slots -> rows in the order of the worlds


def arm(slots: int) -> str:
    """Return the name of nights with so many slots in a file of results."""
    return f"{slots} slot{'' if slots == 1 else 's'}"


def simulated(record: Record, kind: str, slots: int, source: str, seed: int, trainings: int) -> Row:
    """Return a night from the record, or simulate it and add it there."""
    if (found := record.find(kind, arm(slots), seed, trainings)) is not None:
        return found
    began = time.perf_counter()
    night = SlotsNight(World(KINDS[kind], source, seed), source, seed, trainings, slots)
    night.run()
    record.add([
        Row(
            kind=kind, arm=arm(slots), seed=seed, trainings=trainings, curve=tuple(round(gain, 4) for gain in night.curve),
            keeps=tuple(night.keeps), mistakes=tuple(night.mistakes), seconds=round(time.perf_counter() - began, 1),
            counts=dict(night.counts), verdicts=tuple(round(gain, 4) for gain in night.verdicts),
        )
    ])  # fmt: skip
    return record.rows[-1]


def line(kind: str, slots: int, rows: Sequence[Row], shown: Sequence[int]) -> str:
    """Return the mean gains of nights, and what happened in them."""
    gains = "".join(f"{statistics.fmean(one.gain(count) for one in rows):>9.2f}" for count in shown)
    told = [statistics.fmean(one.counts[name] for one in rows) for name in COUNTED]
    kept, false = (
        statistics.fmean(len(found) for found in every)
        for every in zip(*[(one.keeps, one.mistakes) for one in rows], strict=True)
    )
    cells = "".join(f"{value:>13.1f}" for value in told)
    return f"{kind:<10}{slots:>6}{gains}{kept:>8.1f}{false:>7.2f}{cells}{statistics.fmean(one.seconds for one in rows):>8.1f}"


def ratios(nights: Nights, shown: Sequence[int]) -> list[str]:
    """Return the ratios of the gains to those of the fewest slots as lines: in each kind of world, and in all."""
    kinds = list(dict.fromkeys(kind for kind, _ in nights))
    counts = sorted({slots for _, slots in nights})
    lines = []
    for slots in counts[1:]:
        for name, some in [*((kind, [kind]) for kind in kinds), *([(ALL, kinds)] if len(kinds) > 1 else [])]:
            cells = []
            for count in shown:
                ours, theirs = (
                    [one.gain(count) for kind in some for one in nights[kind, number]] for number in (slots, counts[0])
                )
                found, error = ratio(ours, theirs)
                cells.append("-" if math.isnan(found) else f"{found:.2f} ± {error:.2f}")
            lines.append(f"{name:<10}{slots:>6}" + "".join(f"{cell:>16}" for cell in cells))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--worlds", type=int, default=16)
    parser.add_argument("--first", type=int, default=1, help="the number of the first world")
    parser.add_argument("--trainings", type=int, default=100)
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=["recorded", "tangled", "plain"])
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write each night to it, and go on where it ends")
    options = parser.parse_args()
    source, record = (ROOT / "nanochat" / "train.py").read_text(encoding="utf-8"), Record(options.keep)
    shown = [count for count in SHOWN if count <= options.trainings] or [options.trainings]
    print("true gain after so many trainings, in standard deviations of one score; means over the nights; s a night")
    heads = "".join(f"{f'after {count}':>9}" for count in shown)
    print(
        f"{'world':<10}{'slots':>6}{heads}{'kept':>8}{'false':>7}"
        + "".join(f"{name:>13}" for name in COUNTED)
        + f"{'s':>8}"
    )
    nights: dict[tuple[str, int], list[Row]] = {}
    for kind in options.kinds:
        for slots in sorted(set(options.slots)):
            nights[kind, slots] = [
                simulated(record, kind, slots, source, seed, options.trainings)
                for seed in range(options.first, options.first + options.worlds)
            ]
            print(line(kind, slots, nights[kind, slots], shown), flush=True)
    if found := ratios(nights, shown):
        fewest = arm(min(options.slots))
        print(
            f"gain / gain of {fewest}, with its standard error over the worlds (aim: {AIM}); - if that gain is not clearly above 0"
        )
        print(f"{'world':<10}{'slots':>6}" + "".join(f"{f'after {count}':>16}" for count in shown))
        print("\n".join(found))


if __name__ == "__main__":
    main()
