"""The sensible values of a knob, from its name, value and comment. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from core.change.knobs import Knob, is_power_of_two
from core.model import Value
from core.target import TARGET

MULTIPLE = re.compile(r"multiple of ([A-Z][A-Z_0-9]*)")
_ITEM = r"""(?:"[^"]*"|'[^']*'|`[^`]*`|[\w+-]+(?:\.\w+)*)"""
_SEPARATOR = r"\s*(?:,\s*(?:or\s+|and\s+)?|\s(?:or|and)\s+|[|/])\s*"
CHOICES = re.compile(rf"\bone of:?\s*({_ITEM}(?:{_SEPARATOR}{_ITEM})*)\s*(?:[;.(#]|$)")
# Numbers beyond these are not changed: steps from them are meaningless.
LARGEST, SMALLEST = 1e15, 1e-30
USED = re.compile(r"\buses (\d+(?:\.\d+)?)")
AT_MOST = re.compile(r"\bat most (\d+(?:\.\d+)?)(?![\w.]*\w|\s*(?:times|%|\*))")
ZERO_MEANS = re.compile(r"\b0 = ")


STEP, STEP_SHARE = 1.7, 0.3  # size of one step: a factor, or a share of the range


@dataclass(frozen=True)
class Range:
    """The range of a knob. Its ends, and values in encoded form, are exponents of two for `power` and indices for `choice`."""

    kind: Literal["float", "log", "int", "power", "choice"]
    low: float
    high: float
    choices: tuple[Value, ...] = ()

    def encode(self, value: Value) -> float:
        """Return a knob's value in encoded form, or -1e18 if it has none."""
        if self.kind == "power":
            return value.bit_length() - 1 if isinstance(value, int) and is_power_of_two(value) else -(10**18)
        if self.kind == "choice":
            return self.choices.index(value) if value in self.choices else -(10**18)
        return value if isinstance(value, int | float) else -(10**18)

    def decode(self, drawn: float) -> Value:
        if self.kind == "power":
            return int(2 ** int(drawn))
        if self.kind == "choice":
            return self.choices[int(drawn)]
        return int(drawn) if self.kind == "int" else float(f"{drawn:.3g}")

    def contains(self, encoded: float) -> bool:
        return bool(self.low <= encoded <= self.high)

    def at(self, share: float) -> Value:
        """Return the value at a share of the way from the lowest to the highest value."""
        if self.kind == "log":
            return self.decode(self.low * (self.high / self.low) ** share)
        drawn = self.low + share * (self.high - self.low)
        return self.decode(drawn if self.kind == "float" else round(drawn))

    def step(self, value: Value, up: bool) -> Value | None:
        """Return the value one step up or down, or None if that leaves the range."""
        if self.kind == "choice":
            return None
        here = self.encode(value)
        if self.kind == "log":
            drawn = here * STEP if up else here / STEP
        else:
            drawn = here + (1 if up else -1) * (STEP_SHARE * (self.high - self.low) if self.kind == "float" else 1)
        return self.decode(drawn) if self.contains(drawn) else None

    def further(self, old: Value, new: Value) -> Value | None:
        """Return the value that is as far from `new` as `new` from `old`, or None if that leaves the range."""
        if self.kind == "choice":
            return None
        start, end = self.encode(old), self.encode(new)
        drawn = end * end / start if self.kind == "log" and start > 0 else 2 * end - start
        return self.decode(drawn) if self.contains(drawn) else None


def range_for(knob: Knob) -> Range:
    """Return the range around a knob's present value."""
    values, most = _around(knob), largest(knob)
    if values.kind == "choice" or most == math.inf:
        return values
    high = min(values.high, math.floor(math.log2(most)) if values.kind == "power" else most)
    return replace(values, high=high) if values.low < high else values


def _around(knob: Knob) -> Range:
    value, name = knob.value, knob.name
    if isinstance(value, bool):
        return Range("choice", 0, 1, (False, True))
    if isinstance(value, str):
        choices = _choices(knob.comment)
        if value not in choices:  # the comment lists nothing, or something else
            patterns = TARGET.words.get(name, ())
            choices = patterns if value in patterns else (value, *patterns)
        return Range("choice", 0, len(choices) - 1, choices)
    if value and not SMALLEST < abs(value) < LARGEST:
        return Range("choice", 0, 0, (value,))
    if value < 0:
        if isinstance(value, float):
            return Range("float", value * 3, value / 3)
        return Range("int", value * 3, min(-1, -(-value // 3)))
    if isinstance(value, int):
        least = 0 if value == 0 else smallest(knob)
        if is_power_of_two(value) and value >= 8:
            exponent = value.bit_length() - 1
            return Range("power", max(1, exponent - 1), exponent + 1)
        if value < 8:
            return Range("int", max(least, value - 2), max(value + 2, least + 1))
        return Range("int", max(least, round(value / 2)), value * 2)
    if (
        value == 0.0 and (used := USED.search(knob.comment)) and float(used[1]) > 0
    ):  # it is off, and the comment says what is usual
        return Range("log", float(used[1]) / 3, float(used[1]) * 3)
    if value == 0.0:
        return Range("float", 0.0, 0.5 if "WARM" in name else 0.1)
    if ("BETA" in name or "MOMENTUM" in name) and 0.5 < value < 1:
        return Range("float", max(0.3, 1 - 3 * (1 - value)), 1 - (1 - value) / 3)
    if "fraction" in knob.comment and value <= 1:
        return Range("float", max(0.0, value - 0.3), min(1.0, value + 0.3))
    return Range("log", value / 3, value * 3)


def _choices(comment: str) -> tuple[str, ...]:
    """Return the strings that a comment lists, such as `one of: relu, gelu`. Empty if the list contains prose."""
    listed = CHOICES.search(comment)
    choices = re.split(_SEPARATOR, listed[1]) if listed else []
    return tuple(dict.fromkeys(word.strip("'\"`") for word in choices))


def smallest(knob: Knob) -> float:
    """Return the smallest allowed value: 0 for a float or if the comment says what 0 means, else 1.

    A number that is negative now may have any value.
    """
    if not isinstance(knob.value, str) and knob.value < 0:
        return -math.inf
    return 0 if isinstance(knob.value, float) or ZERO_MEANS.search(knob.comment) else 1


def largest(knob: Knob) -> float:
    """Return the largest allowed value, from the comment ("at most 5", "fraction"). A decay rate stays below 1."""
    most = math.inf
    if limit := AT_MOST.search(knob.comment):
        most = float(limit[1])
    elif isinstance(knob.value, float) and ("BETA" in knob.name or "MOMENTUM" in knob.name):
        most = math.nextafter(1.0, 0.0)
    elif isinstance(knob.value, float) and "fraction" in knob.comment:
        most = 1.0
    return most if isinstance(knob.value, str) or knob.value <= most else math.inf  # the present value is allowed


def out_of_bounds(knob: Knob, value: float) -> str:
    """Return why a number is not allowed, such as "must be below 1", or '' if it is."""
    low, high = smallest(knob), largest(knob)
    if "BASE" in knob.name and value <= 0:
        return "must be above 0"
    if value < low:
        return f"must be at least {low:g}"
    if value > min(high, 1e12) or value != value:
        return "must be below 1" if 0 < high < 1 else f"must be at most {min(high, 1e12):g}"
    return ""


def places(knob: Knob, up: bool) -> list[Value]:
    """Return the values to try for a knob that was asked for.

    For a number it is one step up or down, or the end of its range; from outside of its range, the middle. For a choice these
    are all other choices, in both directions.
    """
    knob_range = range_for(knob)
    if isinstance(knob.value, bool):
        return [up] if up is not knob.value else []
    if knob_range.kind == "choice":
        others = [value for value in knob_range.choices if value != knob.value]
        return others if up else others[::-1]
    if (step := knob_range.step(knob.value, up)) is not None:
        return [step]
    if not knob_range.contains(knob_range.encode(knob.value)):
        return [knob_range.at(0.5)] if up else []
    end = knob_range.at(1.0 if up else 0.0)
    ahead = knob_range.encode(end) - knob_range.encode(knob.value)
    return [end] if (ahead > 0 if up else ahead < 0) else []


def senseless(values: Mapping[str, Value], known: Mapping[str, Knob]) -> str:
    """Return why a change makes no sense (a changed knob is inactive, or values do not fit), or '' if it does."""
    after = {name: knob.value for name, knob in known.items()} | dict(values)
    for name in sorted(TARGET.inactive_knobs(after) & values.keys()):
        return f"{name} changes nothing while the other constants are as they are"
    why = misfit(after, known)
    name = next(iter(values), "")
    return f"{name} = {values[name]} does not fit: {why}" if why else ""


def misfit(values: Mapping[str, Value], known: Mapping[str, Knob]) -> str:
    """Return why values do not fit each other, or '' if they do. Comments may ask for multiples."""
    for name, knob in known.items():
        unit = _unit(knob.comment)
        other, value = values.get(unit), values.get(name)
        if isinstance(other, int) and isinstance(value, int) and other and value % other:
            return f"{name} must be a multiple of {unit}, which is {other}"
    return TARGET.misfit(values)


@lru_cache(maxsize=256)  # asked for every value that `search` looks at
def _unit(comment: str) -> str:
    """Return the knob of which a comment asks for a multiple; '' if it asks for none."""
    match = MULTIPLE.search(comment)
    return match[1] if match else ""


def with_followers(values: dict[str, Value], known: Mapping[str, Knob]) -> dict[str, Value]:
    """Return the changed values, and those that must follow."""
    return TARGET.follow(values, {name: knob.value for name, knob in known.items()})
