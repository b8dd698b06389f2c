"""One additive model of all that a run has tried: what each knob and each structural edit does to the score. Pure.

Each scored experiment is a row, from any agent: its gain over its parent, and what it changed. A knob has a parabola over its
position, and an edit has one number. The priors expect that most edits hurt and that most knobs are near their best value. So
several near misses that agree lead to a combination, and a single lucky score does not.

A gain is the difference of two scores, and each score has luck of its own. The luck of a parent is a part of all gains over it. If a
change was kept because it was lucky, its candidates lose by as much. So the model has a column for the luck of each score of
each parent, and a lucky keep is found out by its candidates.

The model is Bayesian linear regression (Bishop, Pattern Recognition and Machine Learning, 2006, section 3.3). Rows that no sum of
effects explains count less, and effects may be far from their prior (Student's t for both, by reweighting: Lange, Little and
Taylor, 1989). Some edits lose ten or twenty standard deviations. Without the long tail of effects, such losses would be taken for
the luck of their parent, and every other candidate for a gain. What to try is drawn from the posterior (Thompson, 1933), with a
part of its spread. `benchmarks/search_worlds.py` simulates nights with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.agents.base import PastExperiment, SeenExperiment
from core.agents.search.earlier import MOST_TIMES
from core.agents.search.ideas import choice, structural
from core.agents.search.ranges import LARGEST, STEP, STEP_SHARE, range_for
from core.change.knobs import Knob
from core.model import Effect, Value
from core.target import TARGET

# Priors, in standard deviations of one score. A knob of impact 2 loses 0.9 +- 2.1 by one step, and an edit loses 1.0 +- 1.7.
SLOPE, CURVE, CURVE_SPREAD = 1.5, -0.9, 0.7  # of a knob of impact 2; others in proportion
UNLISTED = 0.7  # impact of a knob that the target does not list
FLOOR = 0.3  # and this much more spread for any knob
EDIT, EDIT_SPREAD = -1.0, 1.7
WORD = -0.5  # of another word for a knob that takes words
LUCK = 1.0  # spread of the luck of one score
REST = 0.05  # variance of a gain whose two scores both have a column for their luck
FAILED_GAIN = -5.0  # what a knob's value counts that crashed or took too long, when it was changed alone
LARGEST_GAIN = 1000.0  # of a row, or minus that; beyond that, all are as good or as bad
UNPAIRED = 4.0  # variance of a row without pairs of this run: a failure, or a gain in one experiment of an earlier run
ELSEWHERE = 9.0  # of a gain that was measured with another dataset, device, profile or budget
INTERACTION = 0.15  # variance that each change beyond the first adds: effects do not quite add up
DEGREES, TAIL = 4.0, 4.0  # of Student's t, and the scale beyond which a row counts less
EFFECT_DEGREES = 3.0  # of Student's t for effects
ROUNDS = 6
FAR = 10.0  # steps beyond which a parabola says nothing: such a value has an effect of its own


@dataclass(frozen=True)
class Scale:
    """Where a knob's values lie, in clear steps from the value that the run began with."""

    reference: float
    step: float  # a factor where it is logarithmic, else a difference
    logarithmic: bool

    @classmethod
    def of(cls, knob: Knob) -> Scale | None:
        """The scale around a knob's value; None where its values have no order."""
        knob_range, value = range_for(knob), knob.value
        if knob_range.kind == "choice" or isinstance(value, str | bool):
            return None
        if knob_range.kind in ("log", "power"):
            start = float(value) or math.sqrt(knob_range.low * knob_range.high)  # a knob that is off has no logarithm
            return cls(start, STEP if knob_range.kind == "log" else 2.0, True)
        width = STEP_SHARE * (knob_range.high - knob_range.low) if knob_range.kind == "float" else 1.0
        return cls(float(value), width or 1.0, False)

    def position(self, value: Value) -> float | None:
        """Return the steps from the reference; None for a value without a place, or far away from it."""
        if isinstance(value, str | bool) or not abs(value) < LARGEST:
            return None
        if not self.logarithmic:
            place = (value - self.reference) / self.step
        elif 0 < value / self.reference < math.inf:
            place = math.log(value / self.reference) / math.log(self.step)
        else:
            return None
        return place if abs(place) <= FAR else None


@dataclass(frozen=True)
class Change:
    """What one train.py has and another has not, in the terms of the model."""

    positions: Mapping[
        str, tuple[float, float]
    ]  # by knob: before and after, in steps from the value that the run began with
    added: frozenset[str] = frozenset()  # factors, which are edits, and values of knobs without a position
    removed: frozenset[str] = frozenset()

    @property
    def size(self) -> int:
        """How many things it changes."""
        return len(self.positions) + max(len(self.added), len(self.removed))


@dataclass(frozen=True)
class Row:
    """One experiment against its parent."""

    version: str  # fingerprint of its train.py
    parent: str  # fingerprint of its parent's
    gain: float  # over the parent, in standard deviations of one score; positive is better
    seeds: tuple[int, ...]  # of the pairs of scores; empty for a value that failed, and for earlier runs
    change: Change
    unpaired: float = UNPAIRED  # variance of the gain if there are no seeds


class Record:
    """The past in the terms of the model: its rows, and the scale of each knob."""

    def __init__(
        self,
        seen: Iterable[SeenExperiment],
        knobs: Mapping[str, Knob],
        sigma: float,
        earlier: Iterable[Effect] = (),
    ) -> None:
        """`knobs`: those of the incumbent. `sigma`: noise of one score, in bpb. `earlier`: effects that other runs have measured."""
        informative = [one for one in seen if one.gain is not None or _failed_alone(one)]
        references = _references(informative, knobs)
        self._begun = {name: knob.value for name, knob in references.items()}
        self.scales = {name: scale for name, knob in references.items() if (scale := Scale.of(knob))}
        self.rows = [self._row(one, sigma) for one in informative]
        self.rows += [  # a knob's loss on one side would promise a gain on the other, so only ideas are rows
            self._row_of_earlier(one, sigma) for one in earlier if one.edits and not one.after
        ]
        self.screened = frozenset(  # factors with a score
            name for row in self.rows if row.seeds for name in row.change.added | row.change.removed
        )

    @property
    def scored(self) -> int:
        """Number of experiments with a score."""
        return sum(bool(row.seeds) for row in self.rows)

    def _row(self, experiment: SeenExperiment, sigma: float) -> Row:
        change = self.change(experiment.constants, structural(experiment))
        if experiment.gain is None:
            return Row(experiment.fingerprint, experiment.parent, FAILED_GAIN, (), change)
        return Row(
            experiment.fingerprint, experiment.parent, _clipped(experiment.gain / sigma), experiment.seeds, change
        )

    def _row_of_earlier(self, effect: Effect, sigma: float) -> Row:
        several = UNPAIRED / min(effect.times, MOST_TIMES)
        noise, variance = (sigma, several) if effect.noise is None else (effect.noise, ELSEWHERE)
        return Row("", "", _clipped(effect.gain / noise), (), self.change({}, effect.edits), variance)

    def change(self, constants: Mapping[str, tuple[Value, Value]], edits: Iterable[str] = ()) -> Change:
        """Return a change of constants (values before and after) and edits in the terms of the model."""
        positions: dict[str, tuple[float, float]] = {}
        added, removed = set(edits), set[str]()
        for name, (before, after) in constants.items():
            here, there = self.position(name, before), self.position(name, after)
            if here is not None and there is not None:
                positions[name] = (here, there)
            else:
                added |= self._factor(name, after)
                removed |= self._factor(name, before)
        return Change(positions, frozenset(added), frozenset(removed))

    def position(self, name: str, value: Value) -> float | None:
        """Return where a knob's value lies on its scale, or None if it has no position."""
        scale = self.scales.get(name)
        return scale.position(value) if scale is not None else None

    def _factor(self, name: str, value: Value) -> frozenset[str]:
        """Return the factor of a value without a position; none for the value that the run began with."""
        return frozenset() if self._begun.get(name) == value else frozenset((choice(name, value),))

    def interval(self, name: str) -> tuple[float, float]:
        """Return the lowest and the highest position of a knob that has a score. 0 counts as one."""
        places = [place for row in self.rows if row.seeds for place in row.change.positions.get(name, ())]
        return min(0.0, *places) if places else 0.0, max(0.0, *places) if places else 0.0


def _failed_alone(experiment: SeenExperiment) -> bool:
    """Return whether a knob's new value failed without another change. What a knob's followers change is part of that."""
    alone = len(experiment.proposal.notes.knobs or {}) == 1 and not experiment.structural
    failed = isinstance(experiment, PastExperiment) and experiment.verdict.failed
    return failed and bool(experiment.constants) and alone


def _references(past: Sequence[SeenExperiment], knobs: Mapping[str, Knob]) -> dict[str, Knob]:
    """Return each knob with the value at the start of the run: its first value before a change, otherwise its present one."""
    first: dict[str, Value] = {}
    for experiment in past:
        for name, (before, _) in experiment.constants.items():
            first.setdefault(name, before)
    return {name: replace(knob, value=first.get(name, knob.value)) for name, knob in knobs.items()}


@dataclass(frozen=True)
class Effects:
    """Effects of knobs and edits: the posterior's mean, or a draw from it. In standard deviations of one score."""

    columns: Mapping[str, int]
    values: np.ndarray  # (columns,), float64

    def gain(self, change: Change) -> float:
        """Return the gain of a change."""
        total = 0.0
        for name, (before, after) in sorted(change.positions.items()):
            at = self.columns[name]
            total += float(self.values[at]) * (after - before) + float(self.values[at + 1]) * (after**2 - before**2)
        for names, sign in ((change.added, 1.0), (change.removed, -1.0)):
            total += sign * sum(self._factor(name) for name in sorted(names))
        return total

    def _factor(self, name: str) -> float:
        """Return the effect of a factor. A value of a knob that is not known to the model has its prior."""
        return float(self.values[self.columns[name]]) if name in self.columns else WORD


class Model:
    """The posterior over all effects, from the rows of a run."""

    def __init__(self, rows: Sequence[Row], knobs: Iterable[str], factors: Iterable[str]) -> None:
        """`knobs` and `factors` name effects besides those in the rows. Without a row, an effect keeps its prior."""
        self._columns: dict[str, int] = {}
        mean: list[float] = []
        spread: list[float] = []
        for name in sorted({*knobs, *(name for row in rows for name in row.change.positions)}):
            self._columns[name] = len(mean)
            weight = _weight(name)
            mean += [0.0, CURVE * weight]
            spread += [SLOPE * weight + FLOOR, CURVE_SPREAD * weight + FLOOR]
        for name in sorted({*factors, *(name for row in rows for name in row.change.added | row.change.removed)}):
            self._columns[name] = len(mean)
            mean.append(WORD if " = " in name else EDIT)
            spread.append(EDIT_SPREAD)
        self._effects = len(mean)  # the columns before those of luck
        self._luck = _luck_columns(rows, len(mean))
        mean += [0.0] * len(self._luck)
        spread += [LUCK] * len(self._luck)
        self._mean, self._spread = np.array(mean), np.array(spread)  # (columns,); the prior's until the fit
        self._fit(rows)

    def _fit(self, rows: Sequence[Row]) -> None:
        design = np.zeros((len(rows), len(self._mean)))  # (rows, columns)
        variance = np.zeros(len(rows))
        for place, row in enumerate(rows):
            design[place] = self._vector(row.change)
            variance[place] = self._add_luck(row, design[place]) + INTERACTION * max(0, row.change.size - 1)
        gains = np.array([row.gain for row in rows])  # (rows,)
        self._seen = np.flatnonzero(design.any(axis=0))  # columns with a row; the others keep their prior
        design, prior = design[:, self._seen], self._mean[self._seen]
        squares = np.square(self._spread[self._seen])  # variances of the priors
        inverse, is_effect = 1 / squares, self._seen < self._effects
        weight = np.ones(len(rows))
        self._root = np.diag(np.sqrt(inverse))  # Cholesky factor of the precision: (seen columns, seen columns)
        for _ in range(ROUNDS if rows else 0):
            weighted = design * (weight / variance)[:, None]
            precision = weighted.T @ design + np.diag(inverse)
            mean = np.linalg.solve(precision, weighted.T @ gains + inverse * prior)
            residual = np.square(gains - design @ mean) / (variance * TAIL**2)
            weight = np.minimum(1.0, (DEGREES + 1) / (DEGREES + residual))
            far = np.square(mean - prior) / squares
            inverse = np.where(is_effect, np.minimum(1.0, (EFFECT_DEGREES + 1) / (EFFECT_DEGREES + far)), 1.0) / squares
            self._mean[self._seen], self._root = mean, np.linalg.cholesky(precision)

    def _add_luck(self, row: Row, vector: np.ndarray) -> float:
        """Add the luck of the two versions' scores to a row of the design. Returns the variance of what remains of its gain."""
        if not row.seeds:
            return row.unpaired
        share = 1 / len(row.seeds)
        known = (row.version, row.seeds[0]) in self._luck
        for seed in row.seeds:
            vector[self._luck[row.parent, seed]] += share
            if known:
                vector[self._luck[row.version, seed]] -= share
        return REST if known else share

    def _vector(self, change: Change) -> np.ndarray:
        """Return what each column contributes to a change: (columns,)."""
        row = np.zeros(len(self._mean))
        for name, (before, after) in change.positions.items():
            at = self._columns[name]
            row[at : at + 2] += after - before, after**2 - before**2
        for names, sign in ((change.added, 1.0), (change.removed, -1.0)):
            for name in names:
                row[self._columns[name]] += sign
        return row

    @property
    def expected(self) -> Effects:
        """The posterior's mean."""
        return Effects(self._columns, self._mean)

    def draw(self, seed: int, share: float) -> Effects:
        """Draw from the posterior with a share of its spread: 0 gives the mean, 1 is Thompson sampling."""
        normal = np.random.default_rng(seed).standard_normal(len(self._mean))
        off = self._spread * normal
        off[self._seen] = np.linalg.solve(self._root.T, normal[self._seen])
        return Effects(self._columns, self._mean + share * off)

    def spread(self, change: Change) -> float:
        """Return the standard deviation of the gain of a change, without the luck of the scores that would measure it."""
        row = self._vector(change)
        off = self._spread * row
        off[self._seen] = np.linalg.solve(self._root, row[self._seen])
        return float(np.linalg.norm(off))


def _clipped(gain: float) -> float:
    """Return a gain, at most LARGEST_GAIN and at least minus that. With far larger ones the equations of the model have no solution."""
    return max(-LARGEST_GAIN, min(LARGEST_GAIN, gain))


def _luck_columns(rows: Sequence[Row], first: int) -> dict[tuple[str, int], int]:
    """Return (version, seed) -> column, for each score of each parent. Columns begin at `first`."""
    parents = {row.parent for row in rows if row.seeds}
    scores = {(row.parent, seed) for row in rows for seed in row.seeds}
    scores |= {(row.version, seed) for row in rows if row.version in parents for seed in row.seeds}
    return {score: first + place for place, score in enumerate(sorted(scores))}


def _weight(knob: str) -> float:
    """Return the importance of a knob, 1 for an impact of 2."""
    return TARGET.impacts.get(knob, UNLISTED) / 2
