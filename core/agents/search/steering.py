"""How `search` follows the wishes in program.md, hints and reasons for skipping. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from core import syntax
from core.agents.base import Context, Hint
from core.agents.search.ideas import IDEAS, applied, fits
from core.agents.search.ranges import out_of_bounds, places, range_for, senseless, with_followers
from core.change import edits, knobs, touched
from core.change.knobs import Knob
from core.charter import Charter, CharterError, read
from core.charter.directions import Direction, Kind, NotUsable, described, parse
from core.model import Value
from core.target import TARGET

REFUSED = "search cannot use this: "  # the beginning of an answer to what is not used
WRITTEN, SAID = 3.0, 9.0  # weights of topics that program.md and that the human's hints ask for


@dataclass
class Steering:
    """All wishes together. Later wishes take precedence.

    Attributes:
        weights: Topic -> weight: 1 by default, 0 to leave it alone.
        avoided: Topics that a wish names as to be left alone.
        focus: Constants to try -> "up", "down" or "" for both, and the number of the hint (0 for program.md).
        leave: Names to leave alone.
        settings: Constants to set, each with the number of the hint.
        ideas: Ideas of the book to try -> the number of the hint (0 for program.md).
        unwelcome: Ideas of the book to leave alone.
        aside: Wishes that are ignored for now, since they would leave nothing to try.
    """

    weights: dict[str, float] = field(default_factory=lambda: dict.fromkeys(TARGET.topics, 1.0))
    avoided: set[str] = field(default_factory=set)
    focus: dict[str, tuple[str, int]] = field(default_factory=dict)
    leave: set[str] = field(default_factory=set)
    settings: list[tuple[int, Direction]] = field(default_factory=list)
    ideas: dict[str, int] = field(default_factory=dict)
    unwelcome: set[str] = field(default_factory=set)
    aside: list[Direction] = field(default_factory=list)

    def follow(self, direction: Direction, weight: float, number: int = 0) -> None:
        """Add a wish. `number` is the number of the hint, 0 for program.md."""
        names, topics = direction.names, direction.topics
        if direction.kind == "avoid":
            self.leave.update(names)
            self.weights |= dict.fromkeys(topics, 0.0)
            self.avoided.update(topics)
            self.focus = {name: wish for name, wish in self.focus.items() if not self._left(name, topics)}
            self.settings = [(n, wish) for n, wish in self.settings if not self._left(wish.names[0], topics)]
            self.unwelcome.update(direction.ideas)
            gone = {name for name in self.ideas if name in self.unwelcome or IDEAS[name].topic in topics}
            self.ideas = {name: n for name, n in self.ideas.items() if name not in gone}
            return
        if direction.kind == "only":
            self.weights = dict.fromkeys(self.weights, 0.0)
            self.focus, self.ideas = {}, {}
        if direction.kind == "set":
            self.settings.append((number, direction))
        else:
            self.focus |= dict.fromkeys(names, (direction.way, number))
        self.weights |= dict.fromkeys(topics, weight)
        self.avoided.difference_update(topics)
        self.leave.difference_update(names)
        self.ideas |= dict.fromkeys(direction.ideas, number)
        self.unwelcome.difference_update(direction.ideas)

    def _left(self, name: str, topics: Collection[str]) -> bool:
        return name in self.leave or TARGET.topic_of(name) in topics

    def holds(self, direction: Direction) -> bool:
        """Return whether a wish still holds as a whole, so that no later wish contradicts a part of it."""
        names, topics, ideas = set(direction.names), set(direction.topics), set(direction.ideas)
        weighty = {topic for topic, weight in self.weights.items() if weight}
        match direction.kind:
            case "avoid":
                return names <= self.leave and topics <= self.avoided and ideas <= self.unwelcome
            case "set":
                return any(known == direction for _, known in self.settings)
            case "only" if weighty != topics or set(self.focus) != names or set(self.ideas) != ideas:
                return False
        if not ideas <= self.ideas.keys():
            return False
        return topics <= weighty and all(self.focus.get(name, ("none", 0))[0] == direction.way for name in names)


def steering(context: Context, without: Collection[Kind] = ()) -> tuple[Charter, Steering]:
    """Return program.md as `search` reads it, and all wishes together.

    Wishes of the kinds `without` are set aside.
    """
    gone = {name for past in context.past for name in past.idea}  # a hint may name what a kept change has removed
    known = touched.names(context.source) | gone
    try:
        charter = read(context.charter, known)
    except CharterError:
        charter = Charter()
    return charter, combined(charter, context.all_hints, context.source, known, without)


def combined(
    charter: Charter, hints: Iterable[Hint], source: str, known: Collection[str], without: Collection[Kind] = ()
) -> Steering:
    """Combine the wishes of program.md with the human's hints and reasons for skipping.

    Args:
        charter: program.md.
        hints: The hints and reasons for skipping, the newest last.
        source: The train.py that a proposal would change.
        known: The names that a wish may be about.
        without: Kinds of wishes that are set aside.
    """
    result = Steering()

    def take(direction: Direction, weight: float, number: int) -> None:
        part = _usable(direction, source, charter.off_limits, result.leave)[0]
        if direction.kind in without or (part is None and direction.kind == "only"):
            result.aside.append(direction)
        elif part is not None:
            result.follow(part, weight, number)

    for direction in charter.directions:
        take(direction, WRITTEN, 0)
    for hint in hints:
        try:
            wishes = _wishes(hint.text, known, reason=hint.skipped is not None)
        except NotUsable:
            continue  # the human was told when it was given
        for direction in wishes:
            take(direction, SAID, hint.number)
    return result


def unfit(charter: Charter, source: str) -> tuple[str, ...]:
    """Return a phrase for every direction of program.md that cannot be followed on this train.py."""
    combined_steering = combined(charter, (), source, touched.names(source))
    phrases = []
    for direction in dict.fromkeys(charter.directions):
        reasons = _usable(direction, source, charter.off_limits, combined_steering.leave)[1]
        if not reasons and not combined_steering.holds(direction):
            reasons = ("another sentence contradicts it, in whole or in part",)
        phrases += [f"search cannot follow “{direction.words}”: {reason}" for reason in reasons]
    return tuple(phrases)


def answer(
    text: str,
    source: str,
    off_limits: Collection[str],
    tried: Mapping[str, int],
    *,
    reason: bool = False,
    leave: Collection[str] = (),
) -> str:
    """Return a sentence about what `search` understands of a hint or a reason for skipping.

    Args:
        text: The hint, or the reason for skipping.
        source: The train.py that a proposal would change.
        off_limits: The names that program.md puts off limits.
        tried: Fingerprint -> experiment, for the changes of this train.py.
        reason: Whether it is a reason for skipping.
        leave: The names to leave alone according to earlier wishes.
    """
    try:
        wishes = _wishes(text, touched.names(source), reason=reason)
    except NotUsable as error:
        return f"{REFUSED}{error}"
    together = Steering(leave=set(leave))
    for direction in wishes:
        together.follow(direction, SAID)
    understood, refused = [], []
    for direction in wishes:
        part, reasons = _usable(direction, source, off_limits, together.leave, tried)
        if part is not None:
            part, more = _with_topics(part, source, off_limits)
            reasons += more
        if part is not None:
            understood.append(part)
        refused += [f"“{direction.words}”: {why}" if len(wishes) > 1 else why for why in reasons]
    if not understood:
        return f"{REFUSED}{'; '.join(dict.fromkeys(refused))}"
    words = f"search understands: {'; '.join(described(understood))}"
    if len({direction.words for direction in understood if direction.kind == "set"}) > 1:
        words += " (each in an experiment of its own)"
    return f"{words}, but it cannot use the rest: {'; '.join(dict.fromkeys(refused))}" if refused else words


def _wishes(text: str, known: Collection[str], *, reason: bool) -> tuple[Direction, ...]:
    """Parse a hint or a reason for skipping. Raises NotUsable if a part of it is not a wish or contradicts another part."""
    directions = parse(text, known, reason=reason)
    together = Steering()
    for direction in directions:
        together.follow(direction, SAID)
    for direction in directions:
        if not together.holds(direction):
            raise NotUsable(f"“{direction.words}” and the rest of it contradict each other")
    return directions


def _usable(
    direction: Direction,
    source: str,
    off_limits: Collection[str],
    leave: Collection[str],
    tried: Mapping[str, int] | None = None,
) -> tuple[Direction | None, tuple[str, ...]]:
    """Return the part of a wish that can be followed on this train.py (None for nothing), and why the rest cannot."""
    if direction.kind == "avoid":
        return direction, ()
    fine, reasons = [], []
    for name in direction.names:
        try:
            _check(name, direction, source, off_limits, leave, tried or {})
            fine.append(name)
        except NotUsable as error:
            reasons.append(str(error))
    ideas = []
    for name in direction.ideas:
        if fits(IDEAS[name], source, off_limits):
            ideas.append(name)
        elif applied(IDEAS[name], source) is not None:
            reasons.append(f"{name} changes what is off limits in program.md")
        else:
            reasons.append(f"{name} does not apply to this train.py, or is in it already")
    part = replace(direction, names=tuple(fine), ideas=tuple(ideas))
    return (part if fine or ideas or part.topics else None), tuple(reasons)


def _check(
    name: str,
    direction: Direction,
    source: str,
    off_limits: Collection[str],
    leave: Collection[str],
    tried: Mapping[str, int],
) -> None:
    """Raise NotUsable if a wish for a constant cannot be followed."""
    every = {knob.name: knob for knob in knobs.read(source)}
    if name in off_limits:
        raise NotUsable(f"{name} is off limits in program.md")
    if name not in every:
        raise NotUsable(f"{name} is not one of the constants at the top of train.py")
    fixed = {*off_limits, *leave} - {name}  # this wish overrides an earlier one to leave the name alone
    changes = [setting(direction, source)] if direction.kind == "set" else _steps(every[name], direction.way, every)
    free = [values for values in changes if not fixed & values.keys()]
    if not free:
        raise NotUsable(
            f"{name} can only change together with {', '.join(sorted(fixed & changes[0].keys()))}, which must be left alone"
        )
    if tried and direction.kind != "only":
        numbers = [tried.get(edits.fingerprint(knobs.set_knobs(source, values))) for values in free]
        if all(numbers):
            raise NotUsable(f"experiment #{numbers[0]} has this very change")


def _steps(knob: Knob, wish: str, every: Mapping[str, Knob]) -> list[dict[str, Value]]:
    """Return the changes that follow from a wish to try a constant. Raises NotUsable if no change follows."""
    if wish and isinstance(knob.value, str):
        raise NotUsable(f"the values of {knob.name} have no order")
    steps: list[dict[str, Value]] = []
    why = ""
    for way in ("up", "down"):
        for value in places(knob, way == "up") if wish in ("", way) else ():
            values = with_followers({knob.name: value}, every)
            problem = senseless(values, every)
            if not problem:
                steps.append(values)
            why = why or problem
    if not steps:
        ways = {"up": "higher", "down": "lower", "": "other"}
        raise NotUsable(why or f"{knob.name} is {knob.written}, and search knows no {ways[wish]} value")
    return steps


def _with_topics(
    direction: Direction, source: str, off_limits: Collection[str]
) -> tuple[Direction | None, tuple[str, ...]]:
    """Return the part of a wish whose topics have something to try in this train.py, and why the rest cannot be followed."""
    if direction.kind == "avoid":
        return direction, ()
    barren = [topic for topic in direction.topics if not _has_ideas(topic, source, off_limits)]
    part = replace(direction, topics=tuple(topic for topic in direction.topics if topic not in barren))
    reasons = tuple(f"search knows nothing to try about {topic} in this train.py" for topic in barren)
    return (part if part.names or part.topics or part.ideas else None), reasons


def _has_ideas(topic: str, source: str, off_limits: Collection[str]) -> bool:
    every = {knob.name: knob for knob in knobs.read(source)}
    for name in every:
        if TARGET.topic_of(name) == topic:
            try:
                _check(name, Direction("only", names=(name,)), source, off_limits, (), {})
                return True
            except NotUsable:
                continue
    return any(entry.topic == topic and fits(entry, source, off_limits) for entry in TARGET.book)


def setting(direction: Direction, source: str) -> dict[str, Value]:
    """Return the constants that a wish sets, including those that must follow.

    Raises NotUsable if the value does not fit.
    """
    every = {knob.name: knob for knob in knobs.read(source)}
    (name,) = direction.names
    if name not in every:
        raise NotUsable(f"{name} is not one of the constants at the top of train.py")
    value = _value(direction.value, every[name])
    if value == every[name].value:
        raise NotUsable(f"{name} is {every[name].written} already")
    values = with_followers({name: value}, every) | {name: value}  # the value itself is not adjusted
    if why := senseless({name: value} | values, every):
        raise NotUsable(why)
    return values


def _value(text: str, knob: Knob) -> Value:
    """Convert the text of a value to the type of the constant. Raises NotUsable."""
    now = knob.value
    try:
        value = _literal(text)
    except (ValueError, SyntaxError, OverflowError, MemoryError, RecursionError):
        value = text
    if isinstance(now, bool):
        booleans = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
        if text.lower() not in booleans:
            raise NotUsable(f"{knob.name} is True or False")
        return booleans[text.lower()]
    if isinstance(now, str):
        choices = range_for(knob).choices
        if not isinstance(value, str) or value not in choices:
            raise NotUsable(f"{knob.name} is one of {', '.join(str(choice) for choice in choices)}")
        return value
    if isinstance(value, bool) or not isinstance(value, int if isinstance(now, int) else int | float):
        raise NotUsable(f"{knob.name} is a {'whole number' if isinstance(now, int) else 'number'}, not {text[:40]}")
    if why := out_of_bounds(knob, value):
        raise NotUsable(f"{knob.name} = {text[:40]} is out of range: it {why}")
    return float(value) if isinstance(now, float) else value


def _literal(text: str) -> object:
    base, power, exponent = text.partition("**")
    if power:
        base_value, exponent_value = int(base), int(exponent)
        if not (0 < base_value <= 1024 and 0 <= exponent_value <= 40):
            raise ValueError
        return base_value**exponent_value
    return syntax.literal(text)
