"""Drafts of `search`: a whole new train.py with its hypothesis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.agents.base import Context
from core.agents.search.ranges import senseless, with_followers
from core.change import knobs
from core.change.knobs import Knob
from core.model import Notes, Value
from core.target import TARGET


class Knobs(dict[str, Knob]):
    """The knobs that may change. `every` has all knobs, since valid values depend on all of them."""

    def __init__(self, free: dict[str, Knob], every: dict[str, Knob]) -> None:
        super().__init__(free)
        self.every = every
        self.values_now = {name: knob.value for name, knob in every.items()}


@dataclass(frozen=True)
class Draft:
    """A possible proposal: the whole new train.py and how it was made."""

    source: str
    hypothesis: str
    topic: str
    notes: Notes


def settable(known: Knobs, values: Mapping[str, Value]) -> dict[str, Value]:
    """Return the values that differ from the present ones, with those that must change along; {} if they make no sense."""
    changed = {name: value for name, value in values.items() if value != known.values_now[name]}
    changed = with_followers(changed, known.every)
    if not changed or not changed.keys() <= known.keys() or senseless(changed, known.every):
        return {}
    return changed


def knobs_draft(context: Context, known: Knobs, values: Mapping[str, Value], why: str = "") -> Draft | None:
    """Return the draft that sets these knobs, or None if that changes nothing or makes no sense."""
    present, changed = known.values_now, settable(known, values)
    if not changed:
        return None
    hypothesis = why + "; ".join(_move(known[name], value) for name, value in changed.items())
    return Draft(
        knobs.set_knobs(context.source, changed), hypothesis[0].upper() + hypothesis[1:] + ".", TARGET.topic_of(next(iter(changed))),
        Notes(knobs=changed, edits=(), before={name: present[name] for name in changed}),
    )  # fmt: skip


def _move(knob: Knob, value: Value) -> str:
    what = knob.comment.split(";")[0] or knob.name.lower()
    verb = "set"
    if isinstance(value, int | float) and not isinstance(value, bool) and isinstance(knob.value, int | float):
        verb = "raise" if value > knob.value else "lower"
    return f"{verb} {knob.name} from {knob.written} to {knobs.write(value, knob.written)} ({what})"
