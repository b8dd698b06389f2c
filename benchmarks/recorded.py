"""What single changes gained in recorded nights, and the distribution of true effects behind it.

A gain that was measured is a true effect and the error of the measurement, so gains scatter more than effects. The distribution
of the effects is the one that makes the measured gains most likely (nonparametric maximum likelihood: Kiefer and Wolfowitz 1956;
Laird 1978), on a grid, by the EM algorithm. It is stopped early, since it would end at a few single values.

The gains are those of the ten edits in effects.jsonl and of the nights in tests/recorded that `search` made with the same
profile and budget (PROFILE, BUDGET_S). All are divided by the noise of one score of effects.jsonl. What was measured several times
counts once, with its mean.

python benchmarks/recorded.py
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np
from effects import EDITS, ESTABLISHED, Truth, established

from core.agents.search.joint import UNLISTED, Scale
from core.change import knobs
from core.change.edits import apply
from core.record import journal
from core.record.experiment import Experiment
from core.record.fold import fold
from core.record.state import State
from core.target import TARGET

NIGHTS = ("found", "fifty")
PROFILE, BUDGET_S = "cpu-fp32", 60.0
NEAR_STEP = (0.7, 1.4)  # steps that count as one
SPACING, ROUNDS = 0.1, 200  # of the grid, in standard deviations of one score; of the EM algorithm


@dataclass(frozen=True)
class Gain:
    """The measured gain of a single change, in standard deviations of one score.

    Attributes:
        change: The name of an idea, or a knob with its values.
        knob: The knob; "" for an idea.
        gain: The mean over its pairs.
        error: The standard error of that.
        beside: The changes that were kept before it.
    """

    change: str
    knob: str
    gain: float
    error: float
    beside: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Distribution:
    """Values with their probabilities."""

    values: tuple[float, ...]
    weights: tuple[float, ...]

    def draw(self, dice: random.Random) -> float:
        return dice.choices(self.values, self.weights)[0]

    @property
    def mean(self) -> float:
        return sum(value * weight for value, weight in zip(self.values, self.weights, strict=True))

    @property
    def sd(self) -> float:
        mean = self.mean
        return math.sqrt(
            sum((value - mean) ** 2 * weight for value, weight in zip(self.values, self.weights, strict=True))
        )

    def above(self, limit: float) -> float:
        """Return the probability of a value above the limit."""
        return sum(weight for value, weight in zip(self.values, self.weights, strict=True) if value > limit)


@dataclass(frozen=True)
class Recorded:
    """Distributions of true effects, in standard deviations of one score.

    Attributes:
        ideas: Of ideas of the book.
        steps: Of single steps of knobs, divided by the impact of the knob.
        most: The largest measured gain of a step, divided by the impact of its knob.
        interaction: The standard deviation of the interaction of two changes.
    """

    ideas: Distribution
    steps: Distribution
    most: float
    interaction: float


@lru_cache(maxsize=1)
def recorded() -> Recorded:
    """Return the distributions behind everything that was recorded."""
    gains = list(measured())
    ideas, steps = single([one for one in gains if not one.knob]), per_impact([one for one in gains if one.knob])
    return Recorded(
        ideas=deconvolved([one.gain for one in ideas], [one.error for one in ideas]),
        steps=deconvolved([one.gain for one in steps], [one.error for one in steps]),
        most=max(one.gain for one in steps),
        interaction=interaction(gains),
    )


def measured() -> Iterator[Gain]:
    """Yield every gain of a single change that was measured."""
    truth = established(ESTABLISHED, PROFILE, BUDGET_S)
    yield from of_edits(truth)
    for name in NIGHTS:
        yield from of_night(fold(journal.read(ROOT / "tests" / "recorded" / name / journal.NAME)), truth.sigma)


def of_edits(truth: Truth) -> Iterator[Gain]:
    """Yield the established gains of the edits that are ideas, or one step of a knob."""
    source = (ROOT / "nanochat" / "train.py").read_text(encoding="utf-8")
    present = {knob.name: knob for knob in knobs.read(source)}
    for words, edits in EDITS.items():
        gain, error = truth.gain(words) / truth.sigma, truth.error(words) / truth.sigma
        moved = knobs.moved(source, apply(source, edits))
        if not moved:
            yield Gain(words, "", gain, error)
            continue
        name, (before, after) = list(moved.items())[-1]  # BATCH_SIZE only follows TOTAL_BATCH
        scale = Scale.of(present[name])
        place = scale.position(after) if scale is not None else None
        if place is not None and NEAR_STEP[0] <= abs(place) <= NEAR_STEP[1]:
            yield Gain(f"{name} {before} -> {after}", name, gain, error)


def of_night(state: State, sigma: float) -> Iterator[Gain]:
    """Yield the gains of a night's single changes. `sigma`: noise of one score in bpb."""
    kept = {state.experiments[number].kept_as: state.experiments[number] for number in state.kept}
    for experiment in state.experiments.values():
        changes = _changes(experiment)
        if len(changes) != 1 or experiment.gain is None or not experiment.pairs:
            continue
        beside, parent = set[str](), experiment.parent
        while parent in kept:
            beside |= _changes(kept[parent]).keys()
            parent = kept[parent].parent
        ((change, knob),) = changes.items()
        yield Gain(change, knob, experiment.gain / sigma, math.sqrt(2 / experiment.pairs), frozenset(beside))


def _changes(experiment: Experiment) -> dict[str, str]:
    """Return the changes of an experiment: their names, each with its knob, or "" for an idea. Knobs that follow are left out."""
    notes = experiment.notes
    before, after = notes.before or {}, notes.knobs or {}
    only = notes.step.partition(" ")[0]
    found = {f"{name} {before.get(name)} -> {value}": name for name, value in after.items() if not only or name == only}
    return found | dict.fromkeys(notes.edits or (), "")


def single(gains: Sequence[Gain]) -> list[Gain]:
    """Return one gain for each change: the mean of all, weighted by their precision."""
    found = []
    for change in dict.fromkeys(one.change for one in gains):
        same = [one for one in gains if one.change == change]
        weight = sum(one.error**-2 for one in same)
        mean = sum(one.gain * one.error**-2 for one in same) / weight
        found.append(Gain(change, same[0].knob, mean, weight**-0.5))
    return found


def per_impact(gains: Sequence[Gain]) -> list[Gain]:
    """Return one gain for each step, divided by the impact of its knob."""
    found = []
    for one in single(gains):
        impact = TARGET.impacts.get(one.knob, UNLISTED)
        found.append(Gain(one.change, one.knob, one.gain / impact, one.error / impact))
    return found


def deconvolved(gains: Sequence[float], errors: Sequence[float]) -> Distribution:
    """Return the distribution of true values behind values that were measured with normal errors.

    Args:
        gains: The measured values.
        errors: The standard error of each.
    """
    measured, error = np.array(gains)[:, None], np.array(errors)[:, None]  # (values, 1)
    grid = np.arange(min(gains) - SPACING, max(gains) + SPACING, SPACING)  # (points,)
    likely = np.exp(-np.square((measured - grid) / error) / 2)  # (values, points)
    weights = np.full(len(grid), 1 / len(grid))
    for _ in range(ROUNDS):
        posterior = likely * weights
        weights = (posterior / posterior.sum(axis=1, keepdims=True)).mean(axis=0)
    return Distribution(tuple(grid.tolist()), tuple(weights.tolist()))


def interaction(gains: Sequence[Gain]) -> float:
    """Return the standard deviation of the interaction of two changes.

    The same change was measured beside different kept changes. What its gains differ by, beyond their errors, is one interaction
    for each kept change that was there only once.
    """
    beyond, differing = 0.0, 0
    for one, other in combinations(gains, 2):
        if one.change == other.change and one.beside != other.beside:
            beyond += (one.gain - other.gain) ** 2 - one.error**2 - other.error**2
            differing += len(one.beside ^ other.beside)
    return math.sqrt(max(0.0, beyond / differing)) if differing else 0.0


def main() -> None:
    gains, found = list(measured()), recorded()
    steps = [one for one in gains if one.knob]
    print(f"{len(gains)} gains of single changes, in standard deviations of one score (steps: divided by the impact)")
    print(
        f"{'':<8}{'changes':>8}{'mean':>8}{'sd':>8}{'sd of true effects':>20}{'above 0':>9}{'above 2':>9}{'above 4':>9}"
    )
    several = single([one for one in gains if not one.knob])
    for name, values, effects in (("ideas", several, found.ideas), ("steps", per_impact(steps), found.steps)):
        raw = np.array([one.gain for one in values])
        shares = "".join(f"{effects.above(limit):>9.0%}" for limit in (0, 2, 4))
        print(f"{name:<8}{len(values):>8}{raw.mean():>8.2f}{raw.std(ddof=1):>8.2f}{effects.sd:>20.2f}{shares}")
    print(
        f"interaction of two changes, from those that were measured beside different ones: sd {found.interaction:.2f}"
    )
    print(f"largest gain of a step: {found.most:.2f}")


if __name__ == "__main__":
    main()
