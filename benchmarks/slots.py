"""truth.py --slots-compare: experiments per hour and the noise of a score with one and with two trainings at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import figures
from figures import number
from trainings import Bench, Record, Row, Wanted, fitted

from core.machine.profiles import Profile

MOST = 2
REFERENCE = "reference"
REFERENCE_S = 20.0  # budget of the training that measures the reference for all others


async def measure(profile: Profile, record: Record, rounds: int, budget_s: float) -> None:
    """Train one train.py on one seed, in each round equally often one after the other and in parallel."""
    source = fitted(profile)
    async with Bench("slots", profile, record, slots=MOST) as bench:
        # First one training in each slot, which starts the harness there. The very first measures the reference.
        for slot in range(MOST):
            await bench.run(Wanted(REFERENCE, source, min(REFERENCE_S, budget_s)), slot)
        for count in range(rounds):
            for slots in (1, MOST) if count % 2 == 0 else (MOST, 1):
                wanted = Wanted(f"{slots} at once", source, budget_s)
                for _ in range(MOST // slots):
                    await asyncio.gather(*(bench.run(wanted, slot, slots=slots) for slot in range(slots)))


def report(rows: Iterable[Row]) -> list[str]:
    """Return a report of experiments per hour and the spread of val_bpb by the number of slots, as lines."""
    told = [row for row in rows if row.name != REFERENCE]
    cells = [
        (
            "",
            "trainings",
            "experiments/h",
            "mean val_bpb",
            "sd of val_bpb",
            "(80% interval)",
            "mean steps",
            "mean speed",
        )
    ]
    for slots in sorted({row.slots for row in told}):
        found = [row for row in told if row.slots == slots]
        scores = [row.val_bpb for row in found if row.scored]
        spread = figures.sd(scores)
        low, high = figures.sd_interval(spread, len(scores) - 1)
        each = figures.mean([row.result.total_wall_s for row in found]) / slots
        speeds = [row.result.speed.mean for row in found if row.result.speed is not None]
        cells.append(
            (
                f"{slots} at once", str(len(found)), number(3600 / each, 1), number(figures.mean(scores)), number(spread),
                f"{number(low)} to {number(high)}", number(figures.mean([row.result.steps for row in found]), 0),
                number(figures.mean(speeds), 3),
            )
        )  # fmt: skip
    lines = ["", *figures.table(cells)]
    lines.append(
        "An experiment takes the harness' wall time, preflight left out; of two at once each takes half of it."
    )
    return lines
