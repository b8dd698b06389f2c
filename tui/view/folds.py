"""Fold the hunks of a diff: a folded one is a single line with its place, its size and its first change."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

from tui.view.diffs import Line, count_changes

OPEN, FOLDED, ONLY = "▾", "▸", "┄"  # before the heading of a hunk: it can be folded, it is folded, it is the only one
PREVIEW = 60  # characters of the first change of a folded hunk


def hunks(lines: Sequence[Line]) -> list[Sequence[Line]]:
    """Return the hunks of a diff, each with its heading as the first line."""
    starts = [index for index, line in enumerate(lines) if line.sign == "@"]
    return [lines[start:end] for start, end in itertools.pairwise([*starts, len(lines)])]


def fold(lines: Sequence[Line], folded: Collection[int], chosen: int | None = None) -> list[Line]:
    """Return the lines to show.

    Args:
        lines: The diff.
        folded: The hunks to fold, counted from 0.
        chosen: The hunk that the user has gone to; None for none.
    """
    found = hunks(lines)
    shown: list[Line] = []
    for index, (heading, *rest) in enumerate(found):
        sign = ONLY if len(found) == 1 and not folded else FOLDED if index in folded else OPEN
        text = f"{sign} {heading.text}"
        if index in folded:
            added, removed = count_changes(rest)
            text += f"  +{added} −{removed}  {_first_change(rest)}"
        shown.append(Line("@", text.rstrip(), hunk=index, chosen=index == chosen))
        shown += [] if index in folded else rest
    return shown


def rows(text: str) -> list[int]:
    """Return the rows of the headings in a rendered diff. Rows of code begin with another character."""
    return [row for row, line in enumerate(text.split("\n")) if line[:1] in (OPEN, FOLDED, ONLY)]


def _first_change(lines: Sequence[Line]) -> str:
    changed = [line for line in lines if line.sign in "+-" and line.text.strip()]
    first = next((line for line in changed if line.sign == "+"), changed[0] if changed else None)
    return f"{'−' if first.sign == '-' else '+'} {first.text.strip()[:PREVIEW]}" if first is not None else ""
