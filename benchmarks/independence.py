"""truth.py --independence: check that the gauge's readings do not depend on the trainer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import figures
from figures import number, percent
from trainings import Bench, Record, Row, Wanted, fitted

from core.change import edits, knobs
from core.machine.profiles import Profile
from core.model import Edit

AIM = 0.005
SHIPPED = "as shipped"
LARGER = 10  # times the parameters
STREAMED_BYTES = 200_000_000  # read in each step; half as much is written

STREAM = (
    Edit(
        search="    rules = optimizers(model)\n    passes =",
        replace=f"    one, other = torch.zeros(2, {STREAMED_BYTES // 8})\n    rules = optimizers(model)\n    passes =",
    ),
    Edit(
        search="            scale = schedule(run.progress)\n",
        replace="            one.add_(other)\n            scale = schedule(run.progress)\n",
    ),
)


def trainers(profile: Profile) -> dict[str, str]:
    """Return the train.py of each kind of trainer by name."""
    source = fitted(profile)
    shape = {knob.name: knob.value for knob in knobs.read(source)}
    # One sequence per step, since a step must not be longer than the grace of the budget.
    larger = {"DEPTH": depth(shape, profile.vocab_size), "BATCH_SIZE": 1, "TOTAL_BATCH": 256}
    tiny = {"BATCH_SIZE": 1, "SEQ_LEN": 16, "TOTAL_BATCH": 16}
    return {
        SHIPPED: source,
        f"{LARGER} times the parameters": knobs.set_knobs(source, larger),
        f"{STREAMED_BYTES / 1e6:.0f} MB streamed a step": edits.apply(source, STREAM),
        "many tiny steps": knobs.set_knobs(source, tiny),
    }


def depth(shape: Mapping[str, object], vocab_size: int) -> int:
    """Return the number of layers for LARGER times the parameters at the same width. A layer has matrices and a value embedding."""
    layers, width, ratio = (int(str(shape[name])) for name in ("DEPTH", "WIDTH", "MLP_RATIO"))
    layer = (4 + 2 * ratio) * width**2 + vocab_size * width
    tables = 2 * vocab_size * width
    return math.ceil((LARGER * (layers * layer + tables) - tables) / layer)


async def measure(profile: Profile, record: Record, rounds: int, budget_s: float) -> None:
    """Run all trainers in turn. The order is reversed in every other round."""
    async with Bench("independence", profile, record) as bench:
        kinds = list(trainers(profile).items())
        for count in range(rounds):
            for name, source in kinds if count % 2 == 0 else reversed(kinds):
                await bench.run(Wanted(name, source, budget_s))


def report(rows: Iterable[Row]) -> list[str]:
    """Return a report of the mean speed of each kind of trainer, relative to the shipped one in the same round, as lines."""
    speeds: dict[str, list[float]] = {}
    failed = []
    params: dict[str, int] = {}
    for row in rows:
        if row.result.speed is not None:
            speeds.setdefault(row.name, []).append(row.result.speed.mean)
        params[row.name] = row.result.params or params.get(row.name, 0)
        if not row.scored:
            failed.append(row)
    if SHIPPED not in speeds:
        return ["", "The gauge told no speed of the shipped train.py, so there is nothing to compare with."]
    cells = [("", "parameters", "trainings", "mean speed", f"against {SHIPPED}", "standard error")]
    for name, found in speeds.items():
        ratios = [math.log(one / base) for one, base in zip(found, speeds[SHIPPED], strict=False)]
        against = (
            ("-", "-") if name == SHIPPED else (_signed(figures.mean(ratios)), percent(figures.mean_error(ratios), 2))
        )
        cells.append((name, f"{params[name]:,}", str(len(found)), number(figures.mean(found)), *against))
    lines = ["", *figures.table(cells), f"aim: within {percent(AIM)}"]
    if failed:
        lines.append(f"{len(failed)} without a score, the first of them {failed[0].name}: {failed[0].result.reason}")
    return lines


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.2%}"
