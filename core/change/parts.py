"""Splits a combination into its changes, so that each one gets a commit of its own. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from core.change import edits, knobs
from core.model import Part
from core.target import TARGET


@dataclass(frozen=True)
class Step:
    """One or several parts of a combination, and train.py after them and all parts before."""

    name: str
    source: str


def steps(old: str, new: str, parts: Sequence[Part], *, off_limits: Collection[str] = ()) -> tuple[Step, ...]:
    """Return the steps that lead from one train.py to another.

    A part whose step would break the contract, or that does not apply by itself, is joined with the next one.

    Args:
        old: The train.py before the combination.
        new: The train.py with all parts. The last step has exactly this text.
        parts: The changes, in order.
        off_limits: Names that must not change.

    Returns:
        The steps. The only one is the whole change if it cannot be split.
    """
    result: list[Step] = []
    last, pending = old, list[Part]()
    for part in parts[:-1]:
        pending.append(part)
        source = _with(last, pending)
        if source is None or edits.fingerprint(source) == edits.fingerprint(new):
            continue
        if _valid(last, source, off_limits) and _valid(source, new, off_limits):
            result.append(Step(_name(pending), source))
            last, pending = source, []
    return (*result, Step(_name([*pending, *parts[-1:]]), new))


def _name(parts: Sequence[Part]) -> str:
    return ", ".join(part.name for part in parts)


def _with(source: str, parts: Sequence[Part]) -> str | None:
    """Return train.py with these parts, or None if one does not apply or says nothing about its change."""
    changed: str | None = source
    for part in parts:
        changed = _with_one(changed, part) if changed is not None else None
    return changed


def _with_one(source: str, part: Part) -> str | None:
    if not part.knobs and not part.edits:
        return None
    book = {entry.name: entry for entry in TARGET.book}
    changed: str | None = source
    for name in part.edits:
        changed = edits.try_apply(changed, book[name].edits) if changed is not None and name in book else None
    if changed is None or not part.knobs:
        return changed
    if not part.knobs.keys() <= {knob.name for knob in knobs.read(changed)}:
        return None
    return knobs.set_knobs(changed, part.knobs)


def _valid(old: str, new: str, off_limits: Collection[str]) -> bool:
    """Return whether a step is a change that the contract accepts."""
    try:
        edits.validate_change(old, new, off_limits=off_limits)
    except edits.EditError:
        return False
    return True
