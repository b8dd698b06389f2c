"""What `search` does with the wishes of program.md and of the human: which it can follow, and what they come to. Pure."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from core import edits, ideas, knobs
from core.agents.base import Context
from core.agents.ranges import idle, misfit, of, smallest, topic_of, whole_batch
from core.charter import TOPICS, Charter, CharterError, read
from core.charter.directions import Direction, NotUsable, described, parse
from core.knobs import Knob, Value

WRITTEN, SAID = 3.0, 9.0  # weight of a topic that program.md asks for, and of one that the human asked for since


@dataclass
class Steering:
    """All wishes together; a later one counts more than those before.

    Attributes:
        weights: By topic, 1 where nothing was said, 0 where it is to be left alone.
        avoided: Topics that were named as to be left alone, not for lack of another's being the only one.
        focus: Constants to try: "up", "down", or "" for either way.
        leave: Names that are to be left alone.
        settings: By the number of what the human said: a constant and its new value, as it was written.
    """

    weights: dict[str, float] = field(default_factory=lambda: dict.fromkeys(TOPICS, 1.0))
    avoided: set[str] = field(default_factory=set)
    focus: dict[str, str] = field(default_factory=dict)
    leave: set[str] = field(default_factory=set)
    settings: dict[int, Direction] = field(default_factory=dict)

    def follow(self, direction: Direction, weight: float, number: int = 0) -> None:
        """Take in one wish; `number` is that of the hint, for a value to set."""
        names, topics = direction.names, direction.topics
        if direction.kind == "avoid":
            self.leave.update(names)
            self.weights |= dict.fromkeys(topics, 0.0)
            self.avoided.update(topics)
            self.focus = {name: way for name, way in self.focus.items() if not self._left(name, topics)}
            self.settings = {n: one for n, one in self.settings.items() if not self._left(one.names[0], topics)}
            return
        if direction.kind == "only":
            self.weights = dict.fromkeys(self.weights, 0.0)
            self.focus = {}
        if direction.kind == "set":
            self.settings[number] = direction
        else:
            self.focus |= dict.fromkeys(names, direction.way)
        self.weights |= dict.fromkeys(topics, weight)
        self.avoided.difference_update(topics)
        self.leave.difference_update(names)

    def _left(self, name: str, topics: Collection[str]) -> bool:
        return name in self.leave or topic_of(name) in topics


def steering(context: Context) -> tuple[Charter, Steering]:
    """Return program.md as `search` reads it, and what it and the human's words come to."""
    try:
        charter = read(context.charter, ideas.names(context.source))
    except CharterError:
        charter = Charter()
    found = Steering()
    for direction in charter.directions:
        try:
            _check(direction, context.source, charter.off_limits)
        except NotUsable:
            continue
        found.follow(direction, WRITTEN)
    for said in context.said:
        try:
            for direction in wishes(said.text, context.source, charter.off_limits, reason=said.skipped is not None):
                found.follow(direction, SAID, said.number)
        except NotUsable:
            continue  # it was said so when the human said it
    return charter, found


def answer(
    text: str, source: str, off_limits: Collection[str], tried: Mapping[str, int], *, reason: bool = False
) -> str:
    """Say what `search` makes of a human's words.

    Args:
        text: The hint, or the reason for skipping.
        source: The train.py that a proposal would change.
        off_limits: The names that program.md puts off limits.
        tried: By fingerprint, the experiments on this train.py.
        reason: Whether it is a reason for skipping.
    """
    try:
        found = wishes(text, source, off_limits, reason=reason)
        for direction in found:
            if direction.kind == "set":
                fingerprint = edits.fingerprint(knobs.set_knobs(source, setting(direction, source)))
                if number := tried.get(fingerprint):
                    raise NotUsable(f"experiment #{number} has this very change")
    except (NotUsable, edits.EditError) as error:
        return f"search cannot use this: {error}"
    return f"search understands: {'; '.join(described(found))}"


def wishes(text: str, source: str, off_limits: Collection[str], *, reason: bool) -> tuple[Direction, ...]:
    """Read what a human said. Raises NotUsable where some of it is not a wish that `search` can follow on this train.py."""
    found = parse(text, ideas.names(source), reason=reason)
    for direction in found:
        _check(direction, source, off_limits)
    return found


def _check(direction: Direction, source: str, off_limits: Collection[str]) -> None:
    if direction.kind == "avoid":
        return
    known = {knob.name for knob in knobs.read(source)}
    for name in direction.names:
        if name in off_limits:
            raise NotUsable(f"{name} is off limits in program.md")
        if name not in known:
            raise NotUsable(f"{name} is not one of the constants at the top of train.py")
    if direction.kind == "set":
        changed = knobs.set_knobs(source, setting(direction, source))
        try:
            edits.gate(source, changed, off_limits=off_limits)
        except edits.EditError as error:
            raise NotUsable(str(error).rstrip(".")) from None


def setting(direction: Direction, source: str) -> dict[str, Value]:
    """Return the constants that a wish sets: its own, and the total batch where that must follow.

    Raises NotUsable where the value does not fit.
    """
    every = {knob.name: knob for knob in knobs.read(source)}
    (name,) = direction.names
    if name not in every:
        raise NotUsable(f"{name} is not one of the constants at the top of train.py")
    value = _value(direction.value, every[name])
    present = {known: knob.value for known, knob in every.items()}
    if value == present[name]:
        raise NotUsable(f"{name} is {every[name].written} already")
    values = whole_batch({name: value}, every)
    if name in idle(present | values):
        raise NotUsable(f"{name} changes nothing while the other constants are as they are")
    if why := misfit(present | values, every):
        raise NotUsable(f"{name} = {direction.value} does not fit: {why}")
    return values


def _value(text: str, knob: Knob) -> Value:
    """A value as the human wrote it, of the type that the constant has. Raises NotUsable."""
    now = knob.value
    try:
        found = _literal(text)
    except (ValueError, SyntaxError, OverflowError, MemoryError, RecursionError):
        found = text
    if isinstance(now, bool):
        words = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
        if text.lower() not in words:
            raise NotUsable(f"{knob.name} is True or False")
        return words[text.lower()]
    if isinstance(now, str):
        choices = of(knob).choices
        if not isinstance(found, str) or found not in choices:
            raise NotUsable(f"{knob.name} is one of {', '.join(str(choice) for choice in choices)}")
        return found
    if isinstance(found, bool) or not isinstance(found, int if isinstance(now, int) else int | float):
        raise NotUsable(f"{knob.name} is a {'whole number' if isinstance(now, int) else 'number'}, not {text[:40]}")
    if not smallest(knob) <= found < 1e12:
        raise NotUsable(f"{knob.name} = {text[:40]} is out of range")
    return float(found) if isinstance(now, float) else found


def _literal(text: str) -> object:
    base, power, exponent = text.partition("**")
    if power:
        one, two = int(base), int(exponent)
        if not (0 < one <= 1024 and 0 <= two <= 40):
            raise ValueError
        return one**two
    return ast.literal_eval(text)
