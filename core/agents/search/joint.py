"""One additive model of all that a run has tried: what each knob and each structural edit does to the score.

Each scored experiment is a row, whoever proposed it: its gain over its parent, and what it changed. A knob has a parabola over its
position, and an edit has one number. The priors expect that most edits hurt and that most knobs are near their best value. So
several near misses that agree lead to a combination, and a single lucky score does not.

The model is Bayesian linear regression (Bishop, Pattern Recognition and Machine Learning, 2006, section 3.3). Rows that no sum of
effects explains count less (Student's t by reweighting: Lange, Little and Taylor, 1989). What to try is drawn from the
posterior (Thompson, 1933), with a part of its spread. `benchmarks/search_worlds.py` simulates nights with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.agents.base import PastExperiment
from core.agents.search.ranges import LARGEST, STEP, STEP_SHARE, range_for
from core.change.knobs import Knob
from core.model import Value
from core.target import TARGET

# Priors, in standard deviations of one score. A knob of impact 2 loses 0.9 +- 1.7 by one step, and an edit loses 1.0 +- 1.7.
SLOPE, CURVE, CURVE_SPREAD = 1.5, -0.9, 0.7  # of a knob of impact 2; others in proportion
FLOOR = 0.3  # and this much more spread for any knob
EDIT, EDIT_SPREAD = -1.0, 1.7
WORD = -0.5  # of another word for a knob that takes words
PARENT_SPREAD = 0.7  # of a parent's own score, which is part of the gain in all its rows
INTERACTION = 0.15  # variance that each change beyond the first adds: effects do not quite add up
DEGREES, TAIL = 4.0, 1.5  # of Student's t, and the scale beyond which a row counts less
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
        found, value = range_for(knob), knob.value
        if found.kind == "choice" or isinstance(value, str | bool):
            return None
        if found.kind in ("log", "power"):
            start = float(value) or math.sqrt(found.low * found.high)  # a knob that is off has no logarithm
            return cls(start, STEP if found.kind == "log" else 2.0, True)
        width = STEP_SHARE * (found.high - found.low) if found.kind == "float" else 1.0
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
class Row:
    """One scored experiment against its parent."""

    parent: str
    gain: float  # over the parent, in standard deviations of one score; positive is better
    pairs: int
    moves: Mapping[str, tuple[float, float]]  # by knob: positions before and after
    added: frozenset[str]  # factors that it has and its parent lacks
    removed: frozenset[str] = frozenset()

    @property
    def changes(self) -> int:
        return len(self.moves) + len(self.added | self.removed)


class Record:
    """The past in the terms of the model: its rows, and the scale of each knob."""

    def __init__(self, past: Iterable[PastExperiment], knobs: Mapping[str, Knob], sigma: float) -> None:
        """`knobs`: those of the best train.py. `sigma`: noise of one score, in bpb."""
        scored = [one for one in past if one.gain is not None]
        references = _references(scored, knobs)
        self._begun = {name: knob.value for name, knob in references.items()}
        self.scales = {name: scale for name, knob in references.items() if (scale := Scale.of(knob))}
        self.rows = [self._row(one, sigma) for one in scored]
        self.screened = frozenset(name for row in self.rows for name in row.added | row.removed)  # factors with a score

    def _row(self, one: PastExperiment, sigma: float) -> Row:
        assert one.gain is not None
        moves: dict[str, tuple[float, float]] = {}
        added, removed = set(structural(one)), set[str]()
        for name, (before, after) in one.constants.items():
            scale = self.scales.get(name)
            places = (scale.position(before), scale.position(after)) if scale else (None, None)
            if places[0] is not None and places[1] is not None:
                moves[name] = (places[0], places[1])
            else:
                added |= self.factor(name, after)
                removed |= self.factor(name, before)
        return Row(one.parent, one.gain / sigma, max(1, one.pairs), moves, frozenset(added), frozenset(removed))

    def factor(self, name: str, value: Value) -> frozenset[str]:
        """Return the factor of a value without a place on a scale; none for the value that the run began with."""
        return frozenset() if self._begun.get(name) == value else frozenset((choice(name, value),))

    def tried(self, name: str) -> tuple[float, float]:
        """Return the lowest and the highest position of a knob that has a score. 0 counts as one."""
        places = [place for row in self.rows for place in row.moves.get(name, ())]
        return min(0.0, *places) if places else 0.0, max(0.0, *places) if places else 0.0


def structural(one: PastExperiment) -> list[str]:
    """Return the factors of a change besides its constants: names of the book for its edits, otherwise the experiment's number."""
    if not one.structural:
        return []
    edits = one.proposal.meta.get("edits")
    return [str(name) for name in edits] if isinstance(edits, list) and edits else [f"#{one.number}"]


def choice(name: str, value: Value) -> str:
    """Return the name of the factor for a value of a knob."""
    return f"{name} = {value}"


def _references(scored: Sequence[PastExperiment], knobs: Mapping[str, Knob]) -> dict[str, Knob]:
    """Return each knob with the value at the start of the run: its first value before a change, otherwise its present one."""
    first: dict[str, Value] = {}
    for one in scored:
        for name, (before, _) in one.constants.items():
            first.setdefault(name, before)
    return {name: replace(knob, value=first.get(name, knob.value)) for name, knob in knobs.items()}


@dataclass(frozen=True)
class Effects:
    """Effects of knobs and edits: the posterior's mean, or a draw from it. In standard deviations of one score."""

    columns: Mapping[str, int]
    values: np.ndarray  # (columns,), float64

    def knob(self, name: str, before: float, after: float) -> float:
        """Return the gain from moving a knob between two positions."""
        slope, curve = (float(self.values[self.columns[name] + part]) for part in (0, 1))
        return slope * (after - before) + curve * (after**2 - before**2)

    def edits(self, names: Iterable[str]) -> float:
        """Return the gain of several edits and choices together."""
        return sum(self.edit(name) for name in names)

    def edit(self, name: str) -> float:
        """Return the gain of an edit or a choice."""
        return float(self.values[self.columns[name]])


class Model:
    """The posterior over all effects, from the rows of a run."""

    def __init__(self, rows: Sequence[Row], knobs: Iterable[str], factors: Iterable[str]) -> None:
        """`knobs` and `factors` name effects besides those in the rows. Without a row, an effect keeps its prior."""
        self._columns: dict[str, int] = {}
        mean: list[float] = []
        spread: list[float] = []
        for name in sorted({*knobs, *(name for row in rows for name in row.moves)}):
            self._columns[name] = len(mean)
            weight = _weight(name)
            mean += [0.0, CURVE * weight]
            spread += [SLOPE * weight + FLOOR, CURVE_SPREAD * weight + FLOOR]
        for name in sorted({*factors, *(name for row in rows for name in row.added | row.removed)}):
            self._columns[name] = len(mean)
            mean.append(WORD if " = " in name else EDIT)
            spread.append(EDIT_SPREAD)
        parents = {parent: len(mean) + place for place, parent in enumerate(sorted({row.parent for row in rows}))}
        mean += [0.0] * len(parents)
        spread += [PARENT_SPREAD] * len(parents)
        self._prior, self._precision = np.array(mean), 1 / np.square(np.array(spread))
        self._fit(rows, parents)

    def _fit(self, rows: Sequence[Row], parents: Mapping[str, int]) -> None:
        design = np.zeros((len(rows), len(self._prior)))  # (rows, columns)
        for place, row in enumerate(rows):
            design[place, parents[row.parent]] = 1.0
            for name, (before, after) in row.moves.items():
                at = self._columns[name]
                design[place, at : at + 2] = after - before, after**2 - before**2
            for names, sign in ((row.added, 1.0), (row.removed, -1.0)):
                for name in names:
                    design[place, self._columns[name]] += sign
        gains = np.array([row.gain for row in rows])
        noise = np.array([1 / row.pairs + INTERACTION * max(0, row.changes - 1) for row in rows])
        trust = np.ones(len(rows))
        for _ in range(ROUNDS):
            weighted = design * (trust / noise)[:, None]
            precision = weighted.T @ design + np.diag(self._precision)
            self._mean = np.linalg.solve(precision, weighted.T @ gains + self._precision * self._prior)
            missed = np.square(gains - design @ self._mean) / (noise * TAIL**2)
            trust = np.minimum(1.0, (DEGREES + 1) / (DEGREES + missed))
        self._root = np.linalg.cholesky(precision)

    @property
    def expected(self) -> Effects:
        """The posterior's mean."""
        return Effects(self._columns, self._mean)

    def draw(self, seed: int, share: float) -> Effects:
        """Draw from the posterior with a share of its spread: 0 gives the mean, 1 is Thompson sampling."""
        normal = np.random.default_rng(seed).standard_normal(len(self._mean))
        return Effects(self._columns, self._mean + share * np.linalg.solve(self._root.T, normal))

    def spread(
        self, moves: Mapping[str, tuple[float, float]], added: Iterable[str], removed: Iterable[str] = ()
    ) -> float:
        """Return the standard deviation of the gain of these changes together."""
        row = np.zeros(len(self._mean))
        for name, (before, after) in moves.items():
            row[self._columns[name] : self._columns[name] + 2] = after - before, after**2 - before**2
        for name in added:
            row[self._columns[name]] += 1.0
        for name in removed:
            row[self._columns[name]] -= 1.0
        return float(np.linalg.norm(np.linalg.solve(self._root, row)))


def _weight(knob: str) -> float:
    """Return the importance of a knob, 1 for an impact of 2."""
    return TARGET.impacts.get(knob, 0.7) / 2
