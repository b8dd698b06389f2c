"""truth.py --repeats: train one train.py on one seed repeatedly, with the gauge and without, quiet and under a load."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import figures
from figures import number, percent
from trainings import Bench, Record, Row, Unmeasured, Wanted, fitted

from core.machine.profiles import Profile

AIM_SD, AIM_SHIFT, AIM_AT_S = 0.002, 0.001, 60.0
REFERENCE = "reference"
REFERENCE_S = 20.0  # budget of the training that measures the reference for all others


@dataclass(frozen=True)
class Planned:
    """A planned training. `load`: seed of the load; "" for none."""

    budget_s: float
    gauge: bool
    load: str

    @property
    def name(self) -> str:
        return f"{'with the gauge' if self.gauge else 'without'}, {'loaded' if self.load else 'quiet'}"


def plan(budgets: Sequence[float], repeats: int, quiet: int, load_seed: int) -> list[Planned]:
    """Plan pairs of trainings with and without the gauge, under the same load, for each budget.

    The order within a pair alternates. Quiet pairs are distributed evenly among the loaded ones.
    """
    planned = []
    for budget in budgets:
        pairs = [((i + 0.5) / max(1, repeats), f"{load_seed}/{budget:g}/{i}") for i in range(repeats)]
        pairs += [((i + 0.5) / max(1, quiet), "") for i in range(quiet)]
        for count, (_, load) in enumerate(sorted(pairs)):
            first = count % 2 == 0
            planned += [Planned(budget, first, load), Planned(budget, not first, load)]
    return planned


async def measure(
    profile: Profile, record: Record, budgets: Sequence[float], repeats: int, quiet: int, load_seed: int
) -> None:
    """Measure the gauge's reference without a load, then run the trainings that the record lacks. Raises Unmeasured."""
    source, planned = fitted(profile), plan(budgets, repeats, quiet, load_seed)
    done = [Planned(row.budget_s, row.gauge, row.load) for row in record.rows if row.name != REFERENCE]
    if done != planned[: len(done)]:
        raise Unmeasured("the file of --out holds trainings of other settings; name another one.")
    async with Bench("repeats", profile, record) as bench:
        if not record.rows:
            await bench.run(Wanted(REFERENCE, source, min(REFERENCE_S, *budgets)))
        for one in planned[len(done) :]:
            await bench.run(Wanted(one.name, source, one.budget_s, gauge=one.gauge, load=one.load))


def report(rows: Iterable[Row]) -> list[str]:
    """Return a report for all budgets, as lines."""
    told = [row for row in rows if row.name != REFERENCE]
    lines = []
    for budget in sorted({row.budget_s for row in told}):
        lines += _budget(budget, [row for row in told if row.budget_s == budget])
    return lines or ["No training was recorded."]


def _budget(budget: float, rows: Sequence[Row]) -> list[str]:
    lines = ["", f"{budget:g} s"]
    cells = [
        (
            "",
            "quiet",
            "loaded",
            "sd of val_bpb",
            "(80% interval)",
            "sd of ln steps",
            "of ln steps/s",
            "shift, loaded - quiet",
        )
    ]
    for gauge in (True, False):
        quiet, loaded = (
            [r for r in rows if r.scored and r.gauge == gauge and bool(r.load) == busy] for busy in (False, True)
        )
        scores = [row.val_bpb for row in loaded]
        spread = figures.sd(scores)
        low, high = figures.sd_interval(spread, len(scores) - 1)
        moved, error = figures.shift([row.val_bpb for row in quiet], scores)
        cells.append(
            (
                "with the gauge" if gauge else "without", str(len(quiet)), str(len(loaded)), number(spread),
                f"{number(low)} to {number(high)}", percent(figures.sd([math.log(row.result.steps) for row in loaded])),
                percent(figures.sd([_pace(row) for row in loaded])), f"{number(moved, sign=True)} +- {number(error)}",
            )
        )  # fmt: skip
    lines += figures.table(cells)
    lines.append(
        f"aim at {AIM_AT_S:g} s, with the gauge: sd of val_bpb at most {AIM_SD:g}, shift at most {AIM_SHIFT:g}"
    )
    lines += _gauge(rows)
    if failed := [row for row in rows if not row.scored]:
        lines.append(f"{len(failed)} without a score, the first of them: {failed[0].result.reason}")
    return lines


def _pace(row: Row) -> float:
    """Return the logarithm of the steps per charged second."""
    return math.log(row.result.steps / row.result.charged_s)


def _gauge(rows: Sequence[Row]) -> list[str]:
    """Return lines about how steps depend on the gauge, and about its cost."""
    gauged = [(row, row.result.speed) for row in rows if row.scored and row.gauge and row.result.speed]
    if not gauged:
        return ["the gauge told no speed: its columns are those of trainings without it"]
    speeds = [speed.mean for _, speed in gauged]
    slope, error, left = figures.line(
        [math.log(speed) for speed in speeds], [math.log(row.result.steps / row.result.cpu_s) for row, _ in gauged]
    )
    wall = {
        gauge: [r.result.wall_s / r.result.cpu_s for r in rows if r.scored and r.gauge == gauge and not r.load]
        for gauge in (True, False)
    }
    cost = figures.mean(wall[True]) / figures.mean(wall[False]) - 1
    every = [row.result.wall_s / speed.readings for row, speed in gauged]
    stopped = {
        busy: [speed.stopped_s / row.result.wall_s for row, speed in gauged if bool(row.load) == busy]
        for busy in (False, True)
    }
    return [
        f"speed {min(speeds):.3f} to {max(speeds):.3f} of the reference; steps in a CPU second go with it to the power of "
        f"{number(slope, 2)} +- {number(error, 2)} (1 is wanted) and leave {percent(left)}",
        f"a reading every {number(figures.mean(every), 2)} s; wall time in a CPU second, quiet, is {percent(cost)} more than without the "
        "gauge (aim: 3%)",
        f"the trainer was stopped for the readings in {percent(figures.mean(stopped[False]))} of its wall time quiet, "
        f"{percent(figures.mean(stopped[True]))} loaded",
    ]
