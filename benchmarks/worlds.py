"""Drawn worlds for simulated nights: true scores of train.py files, without training.

A world gives each knob of train.py a best value, each edit of the book an effect, and some pairs of them an interaction.
"""

from __future__ import annotations

import math
import random
import sys
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from recorded import Recorded, recorded

from core.agents.search.joint import UNLISTED
from core.change import knobs
from core.model import Value
from core.target import TARGET

BAD_EDIT = 8.0  # what an edit costs that does not go together with this model
FARTHEST = 1.5  # steps from the value of now to the best one, at most, in worlds of recorded effects


@dataclass(frozen=True)
class Kind:
    """How worlds of one kind are drawn. Effects are in standard deviations of one score."""

    good: float = 0.25  # share of edits that help
    gain: float = 1.2  # of those, on average
    loss: float = 1.8  # of those that hurt, on average
    wrong: float = 0.7  # spread of the best values, in steps from those of now
    curve: float = 0.5  # what the first step away from the best value costs, for an impact of 1
    interaction: float = 0.25
    everywhere: bool = False  # whether every pair interacts, else each name is in two pairs on average
    cliffs: float = 0.0  # share of knobs with a value beyond which training diverges
    recorded: bool = False  # whether effects of edits and steps are drawn from those of recorded nights


KINDS = {
    "plain": Kind(),
    "scarce": Kind(good=0.12, wrong=0.4),
    "rough": Kind(good=0.15, loss=3.6, interaction=0.4, cliffs=0.4),
    "steep": Kind(wrong=0.4, curve=1.4, cliffs=0.3),
    "flat": Kind(good=0.2, curve=0.15),
    "large": Kind(good=0.15, gain=3.0, loss=6.0, curve=1.5, interaction=0.6, cliffs=0.2),
    "recorded": Kind(recorded=True),
    "tangled": Kind(recorded=True, interaction=1.0, everywhere=True),
}


class World:
    """True scores of train.py files.

    Args:
        kind: How it is drawn.
        source: The train.py that nights in it begin with.
        seed: The number of the world.
    """

    def __init__(self, kind: Kind, source: str, seed: int) -> None:
        dice = random.Random(f"world {seed}")
        self._start = {knob.name: knob.value for knob in knobs.read(source)}
        self._best, self._curve, self._cliff = dict[str, float](), dict[str, float](), dict[str, float]()
        self._edits, self._bad = dict[str, float](), set[str]()
        if kind.recorded:
            self._draw_recorded(recorded(), dice)
        else:
            self._draw(kind, dice)
        names = [*sorted(self._start), *sorted(self._edits)]
        drawn = combinations(names, 2) if kind.everywhere else ((*dice.sample(names, 2),) for _ in names)
        self._pairs = [(one, other, dice.gauss(0, kind.interaction)) for one, other in drawn]
        zero = self._effects(source, frozenset())
        assert zero is not None
        self._zero = zero

    def _draw(self, kind: Kind, dice: random.Random) -> None:
        for name in sorted(self._start):
            impact = TARGET.impacts.get(name, UNLISTED)
            self._best[name] = dice.gauss(0, kind.wrong)
            self._curve[name] = impact * kind.curve * dice.gammavariate(2, 0.5)
            has_cliff, where = dice.random() < kind.cliffs, dice.choice((-1, 1)) * dice.uniform(0.6, 1.6)
            self._cliff[name] = where if has_cliff else 0.0
        for entry in TARGET.book:
            helps, size = dice.random() < kind.good, dice.gammavariate(1.5, kind.gain / 1.5)
            self._edits[entry.name] = size if helps else -dice.gammavariate(1.2, kind.loss / 1.2)
            if dice.random() < kind.cliffs / 4:
                self._bad.add(entry.name)

    def _draw_recorded(self, found: Recorded, dice: random.Random) -> None:
        """Draw effects as recorded nights had them. A knob gets two: that of a step up, and that of a step down."""
        for name in sorted(self._start):
            curve, best = 0.0, 0.0
            # A parabola through both needs a maximum nearby that gains no more than the best step that was recorded.
            while not (curve > 0 and abs(best) <= FARTHEST and curve * best**2 <= found.most):
                up, down = found.steps.draw(dice), found.steps.draw(dice)
                curve = -(up + down) / 2
                best = (up - down) / (4 * curve) if curve > 0 else 0.0
            self._best[name], self._curve[name] = best, TARGET.impacts.get(name, UNLISTED) * curve
            self._cliff[name] = 0.0
        self._edits = {entry.name: found.ideas.draw(dice) for entry in TARGET.book}

    def gain(self, source: str, ideas: frozenset[str] = frozenset()) -> float | None:
        """How much better than the start a train.py with these ideas is, in standard deviations of one score.

        None if its training diverges, since a knob is beyond its cliff.
        """
        total = self._effects(source, ideas)
        return total - self._zero if total is not None else None

    def _effects(self, source: str, present: frozenset[str]) -> float | None:
        places = {
            knob.name: self._place(knob.name, knob.value) for knob in knobs.read(source) if knob.name in self._best
        }
        total = 0.0
        for name, place in places.items():
            best, cliff = self._best[name], self._cliff[name]
            total += self._curve[name] * (best**2 - (best - place) ** 2)
            if abs(place) > abs(cliff) > 0 and place * cliff > 0:
                return None
        total += sum(self._edits[name] - BAD_EDIT * (name in self._bad) for name in sorted(present))
        amount = {**places, **dict.fromkeys(present, 1.0)}
        return total + sum(size * amount.get(one, 0.0) * amount.get(other, 0.0) for one, other, size in self._pairs)

    def _place(self, name: str, value: Value) -> float:
        """Steps from the value that the night begins with."""
        start = self._start[name]
        if isinstance(start, str | bool) or isinstance(value, str | bool):
            return float(value != start)
        if start > 0 and value > 0:
            return math.log(value / start) / math.log(2.0 if isinstance(start, int) else 1.7)
        return (value - start) / (1.0 if isinstance(start, int) else 0.15)
