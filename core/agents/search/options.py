"""All single changes of the incumbent, and what the joint model makes of them. Pure."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from core.agents.base import Context
from core.agents.search.drafts import Knobs, settable
from core.agents.search.ideas import IDEAS, applied, choice, fits, knob_change, open_alone, skipped, unwanted
from core.agents.search.joint import Change, Effects, Model, Record
from core.agents.search.ranges import range_for
from core.change import knobs
from core.change.knobs import Knob
from core.model import Value
from core.target import TARGET

POINTS = 17  # values of a knob's range that are looked at
BEYOND = 0.5  # steps beyond what was tried on that side, in a combination
STRIDE = 1.05  # steps beyond what was tried on that side, alone: one clear step, although values are rounded


@dataclass(frozen=True)
class Option:
    """One change: a new value of a knob, or an idea of the book."""

    name: str
    change: Change
    near: bool  # whether the model knows about it from scores, and not only from its prior
    value: Value | None = None  # None for an idea

    @property
    def topic(self) -> str:
        return IDEAS[self.name].topic if self.value is None else TARGET.topic_of(self.name)


class Options:
    """The record of a run, the model fitted to it, and the changes that can be made now.

    Args:
        context: What the agent was given.
        known: The knobs that may change.
        left_alone: Names of train.py that no change may touch.
        unwelcome: Ideas of the book that the human asked to leave alone.
    """

    def __init__(
        self, context: Context, known: Knobs, left_alone: Collection[str] = (), unwelcome: Collection[str] = ()
    ) -> None:
        self.known, self._unwanted = known, unwanted(context) | set(unwelcome)
        self._open_alone = open_alone(context)
        self._source, self._left_alone, self._fitting = context.source, left_alone, dict[str, bool]()
        self.record = Record((*context.past, *context.open), known.every, context.sigma, context.earlier)
        self.active = sorted(known.keys() - TARGET.inactive_knobs(known.values_now))
        no_more = skipped(context)  # a value that failed is a row of the model, and others in its direction may be fine
        self._values = {
            name: [option for option in self._of_knob(known[name]) if self.mark(option) not in no_more]
            for name in self.active
        }
        self._ideas = [
            Option(name, Change({}, frozenset((name,))), name in self.record.screened)
            for name in sorted(IDEAS.keys() - self._unwanted)
            if applied(IDEAS[name], context.source) is not None
        ]
        self._every = [*self._ideas, *(option for values in self._values.values() for option in values)]
        factors = {name for option in self._every for name in option.change.added | option.change.removed}
        self.model = Model(self.record.rows, {*self.record.scales, *known.every}, factors)

    def _of_knob(self, knob: Knob) -> Iterator[Option]:
        """Yield an option for each other value of a knob that fits the present values of the others.

        None lies more than a clear step beyond what was tried. The model knows nothing about values that are further away, and the
        losses there can be large.
        """
        low, high = self.record.interval(knob.name)
        for value in values_of(knob):
            fitting = settable(self.known, {knob.name: value})
            if fitting.get(knob.name) != value:
                continue
            change = self.change(fitting)
            if knob.name in change.positions:
                place = change.positions[knob.name][1]
                if not low - STRIDE <= place <= high + STRIDE:
                    continue
                reach = BEYOND if isinstance(value, float) else 1.0  # the next whole number is a step away
                near = low - reach * (low < 0) <= place <= high + reach * (high > 0)
            else:
                near = change.added & {choice(knob.name, value)} <= self.record.screened
            yield Option(knob.name, change, near, value)

    def change(self, values: Mapping[str, Value], edits: Collection[str] = ()) -> Change:
        """Return the change to these values and ideas in the terms of the model."""
        present = self.known.values_now
        return self.record.change({name: (present[name], value) for name, value in values.items()}, edits)

    def value(self, name: str, chance: random.Random) -> Value | None:
        """Return a new value for a knob by a draw from the posterior, anywhere in its range; None if it has no other value."""
        effects = self.model.draw(chance.randrange(2**31), 1.0)
        options = self._values.get(name, [])
        return max(options, key=lambda option: effects.gain(option.change)).value if options else None

    def helpful(self, effects: Effects, weights: Mapping[str, float]) -> list[Option]:
        """Return the changes that help by these effects and that have a score, the best first.

        A knob's values follow each other, so that the second best serves where the best does not fit the other changes.
        """
        near = [
            (effects.gain(option.change), option)
            for option in self._every
            if option.near and weights.get(option.topic, 1.0) > 0 and self._wanted(option)
        ]
        good = sorted((pair for pair in near if pair[0] > 0), key=lambda pair: -pair[0])
        return [option for _, option in good if self._allowed(option)]

    def _wanted(self, option: Option) -> bool:
        """Return whether a change was neither skipped nor has failed."""
        return self.mark(option) not in self._unwanted

    def _allowed(self, option: Option) -> bool:
        """Return whether an idea touches nothing that is to be left alone. Of the knobs only free ones are known here."""
        if option.value is not None:
            return True
        if option.name not in self._fitting:  # it takes a while to find out
            self._fitting[option.name] = fits(IDEAS[option.name], self._source, self._left_alone)
        return self._fitting[option.name]

    def known_about(self) -> list[list[Option]]:
        """Return the allowed changes that some score is known about: each idea, and the values of each knob."""
        groups = [*([option] for option in self._ideas), *self._values.values()]
        known = ([option for option in group if option.near and self._wanted(option)] for group in groups)
        return [allowed for group in known if (allowed := [option for option in group if self._allowed(option)])]

    def screening(self, effects: Effects, *, ideas: bool) -> list[tuple[float, Option]]:
        """Return what to try alone, with its gain by these effects: ideas of the book, or the best value of each knob.

        Without what an open experiment tries alone.
        """
        every = ([option] for option in self._ideas) if ideas else self._values.values()
        groups = [
            fresh for group in every if (fresh := [one for one in group if self.mark(one) not in self._open_alone])
        ]
        gains = ([(effects.gain(option.change), option) for option in group] for group in groups)
        return [max(group, key=lambda one: one[0]) for group in gains]

    def words(self, option: Option) -> str:
        """Return a change as text, such as "DEPTH 2 -> 3", or the name of an idea."""
        if option.value is None:
            return option.name
        return self.move(option.name, option.value)

    def move(self, name: str, value: Value) -> str:
        """Return a move of a knob as text, such as "DEPTH 2 -> 3"."""
        written = self.known.every[name].written
        before, after = (knobs.write(number, written) for number in (self.known.values_now[name], value))
        return f"{name} {before} -> {after}"

    def mark(self, option: Option) -> str:
        """Return the name of a change as in `ideas.changes_of`."""
        if option.value is None:
            return option.name
        return knob_change(option.name, self.known.values_now[option.name], option.value)


def values_of(knob: Knob) -> list[Value]:
    """Return values over the whole range of a knob, each once, without its present one."""
    knob_range = range_for(knob)
    values = dict.fromkeys(knob_range.at(point / (POINTS - 1)) for point in range(POINTS))
    return [value for value in values if value != knob.value]
