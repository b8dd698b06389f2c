"""Combinations: several changes at once that the joint model expects to help. Each of them already has a score.

A near miss is inconclusive alone. Several near misses together are often large enough for the keep rule.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from core.agents.base import Context
from core.agents.search.drafts import Draft, Knobs, settable
from core.agents.search.joint import Effects, Model, Record
from core.agents.search.ranges import range_for
from core.change import edits, knobs
from core.change.knobs import Knob
from core.model import Value
from core.target import TARGET

MOST = 4  # changes in one combination: with more, a single wrong one spoils it too often
SHARE = 0.3  # of the posterior's spread in a draw
DRAWS = 6
POINTS = 17  # of a knob's range
BEYOND = 0.5  # steps beyond what was tried on that side
LEAST_GAIN = 1.0  # expected gain in standard deviations of one score; smaller gains are hardly ever kept
LEAST_ROWS = 6  # scored experiments before the first combination
EXPECTED = "expected"  # in a combination's notes: its gain by the model, and the standard deviation of that, in bpb
ENTRIES = {entry.name: entry for entry in TARGET.book}


@dataclass(frozen=True)
class Move:
    """One change in a combination: a new value of a knob, or an edit of the book."""

    name: str
    gain: float  # in standard deviations of one score
    value: Value | None = None  # None for an edit
    places: tuple[float, float] | None = None  # of a knob whose values have an order: positions before and after


class Joint:
    """The record of a run, and the model fitted to it."""

    def __init__(self, context: Context, known: Knobs) -> None:
        self.known = known
        self.active = sorted(known.keys() - TARGET.inactive_knobs(known.values_now))
        self.record = Record(context.past, known.every, context.sigma)
        choices = {
            factor
            for name in known
            if name not in self.record.scales
            for value in (known[name].value, *_places(known[name]))
            for factor in self.record.factor(name, value)
        }
        self.model = Model(self.record.rows, self.record.scales, (*ENTRIES, *choices))

    def value(self, name: str, chance: random.Random) -> Value | None:
        """Return a new value for a knob by a draw from the posterior, anywhere in its range; None if it has no other value."""
        moves = self._values(name, self.model.draw(chance.randrange(2**31), 1.0), everywhere=True)
        return max(moves, key=lambda move: move.gain).value if moves else None

    def moves(self, effects: Effects, context: Context, weights: Mapping[str, float]) -> list[Move]:
        """Return the changes that help by these effects, the best first: the best value of each knob that was tried, and edits."""
        found = []
        for name in self.active:
            if weights.get(TARGET.topic_of(name), 1.0) > 0:
                found += sorted(self._values(name, effects), key=lambda move: -move.gain)[:1]
        for name in sorted(self.record.screened & ENTRIES.keys()):
            entry = ENTRIES[name]
            if weights.get(entry.topic, 1.0) > 0 and edits.try_apply(context.source, entry.edits) is not None:
                found.append(Move(name, effects.edit(name)))
        return sorted((move for move in found if move.gain > 0), key=lambda move: -move.gain)

    def _values(self, name: str, effects: Effects, *, everywhere: bool = False) -> list[Move]:
        """Return moves to the other values of a knob; without `everywhere`, only to values near those that were tried."""
        knob, scale = self.known[name], self.record.scales.get(name)
        low, high = self.record.tried(name)
        moves = []
        for value in _places(knob):
            if value == knob.value:
                continue
            if scale is None:
                added, removed = self.record.factor(name, value), self.record.factor(name, knob.value)
                if everywhere or added <= self.record.screened:
                    moves.append(Move(name, effects.edits(added) - effects.edits(removed), value))
                continue
            before, after = scale.position(knob.value), scale.position(value)
            if before is None or after is None:
                continue
            reach = BEYOND if isinstance(value, float) else 1.0  # the next whole number is a step away
            if everywhere or low - reach * (low < 0) <= after <= high + reach * (high > 0):
                moves.append(Move(name, effects.knob(name, before, after), value, (before, after)))
        return moves

    def expected(self, moves: list[Move]) -> tuple[float, float]:
        """Return the mean and the standard deviation of their gain together, in standard deviations of one score."""
        places = {move.name: move.places for move in moves if move.places is not None}
        added, removed = set[str](), set[str]()
        for move in moves:
            if move.value is None:
                added.add(move.name)
            elif move.places is None:
                added |= self.record.factor(move.name, move.value)
                removed |= self.record.factor(move.name, self.known[move.name].value)
        mean = self.model.expected
        gain = sum(mean.knob(name, *place) for name, place in places.items()) + mean.edits(added) - mean.edits(removed)
        return gain, self.model.spread(places, added, removed)


def _places(knob: Knob) -> list[Value]:
    """Return values over the whole range of a knob, each once."""
    found = range_for(knob)
    return list(dict.fromkeys(found.at(point / (POINTS - 1)) for point in range(POINTS)))


def combinations(
    context: Context, weights: Mapping[str, float], joint: Joint, chance: random.Random
) -> Iterator[Draft | None]:
    """Yield combinations that the model expects to help, one for each of several draws."""
    if len(joint.record.rows) < LEAST_ROWS:
        return
    for _ in range(DRAWS):
        effects = joint.model.draw(chance.randrange(2**31), SHARE)
        yield _draft(context, joint, joint.moves(effects, context, weights))


def _draft(context: Context, joint: Joint, moves: list[Move]) -> Draft | None:
    """Return the first moves that fit each other as one draft; None if they are too little to be tried."""
    source, taken = context.source, list[Move]()
    values: dict[str, Value] = {}
    for move in moves:
        if len(taken) == MOST:
            break
        if move.value is None:
            changed = edits.try_apply(source, ENTRIES[move.name].edits)
            if changed is None:
                continue
            source = changed
        elif fitting := settable(joint.known, values | {move.name: move.value}):
            values = fitting
        else:
            continue
        taken.append(move)
    if not taken or not values.keys() <= {knob.name for knob in knobs.read(source)}:
        return None
    names = [move.name for move in taken if move.value is None]
    expected, uncertain = joint.expected(taken)
    if expected < LEAST_GAIN:
        return None
    gain, spread = context.sigma * expected, context.sigma * uncertain
    present = joint.known.values_now
    what = [f"{name} {present[name]} -> {value}" for name, value in values.items()] + names
    rows = len(joint.record.rows)
    words = (
        f"{', '.join(what)}: by all {rows} scores so far, {'these' if len(what) > 1 else 'this'} should gain "
        f"{gain:.4f} ± {spread:.4f}."
    )
    meta = {
        "knobs": values,
        "edits": names,
        "from": {name: present[name] for name in values},
        EXPECTED: [round(gain, 5), round(spread, 5)],
    }
    first = taken[0]
    topic = ENTRIES[first.name].topic if first.value is None else TARGET.topic_of(first.name)
    return Draft(knobs.set_knobs(source, values) if values else source, words, topic, meta)
