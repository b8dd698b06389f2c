"""Expresses the difference between two texts of train.py as edits. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from core.change import edits
from core.model import Edit
from core.text import lines_of

Lines = tuple[int, int]  # the first line, and the one after the last


def as_edits(old: str, new: str) -> tuple[Edit, ...]:
    """Return edits of whole lines that turn one text into another.

    Args:
        old: The text before.
        new: The text after.

    Returns:
        The edits in the order of the text. None if the texts are equal, or if one of them is empty.
    """
    before, after = lines_of(old), lines_of(new)
    codes = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    changed = [((i1, i2), (j1, j2)) for kind, i1, i2, j1, j2 in codes if kind != "equal"]
    if not changed:
        return ()
    parts = _apart([lines for lines, _ in changed], before, old)
    whole = _apart([(parts[0][0], parts[-1][1])], before, old)
    for ranges in (parts, whole):  # an edit can make the text of a later one ambiguous
        made, shift = list[Edit](), 0  # `shift`: lines that the new text has more, up to here
        for first, last in ranges:
            longer = sum((j2 - j1) - (i2 - i1) for (i1, i2), (j1, j2) in changed if first <= i1 and i2 <= last)
            search, text = "".join(before[first:last]), "".join(after[first + shift : last + shift + longer])
            made.append(_without_end(search, text, old))
            shift += longer
        if edits.try_apply(old, made) == new:
            return tuple(made)
    return ()


def _apart(changed: Sequence[Lines], before: Sequence[str], old: str) -> list[Lines]:
    """Return ranges of lines that occur once in the old text and do not touch each other."""
    chunks: list[Lines] = []
    for lines in changed:
        first, last = _unique(lines, before, old)
        while chunks and first <= chunks[-1][1]:
            above = chunks.pop()
            first, last = _unique((min(above[0], first), max(above[1], last)), before, old)
        chunks.append((first, last))
    return chunks


def _unique(lines: Lines, before: Sequence[str], old: str) -> Lines:
    """Return the range with lines around it until its text occurs once, or with all lines."""
    first, last = lines
    while not _once("".join(before[first:last]), old) and (first > 0 or last < len(before)):
        if first > 0:
            first -= 1
            if _once("".join(before[first:last]), old):
                break
        last = min(len(before), last + 1)
    return first, last


def _without_end(search: str, text: str, old: str) -> Edit:
    """Return the edit without the last line break, if it is not needed."""
    if search.endswith("\n") and text.endswith("\n") and _once(search[:-1], old):
        search, text = search[:-1], text[:-1]
    return Edit(search=search, replace=text)


def _once(text: str, source: str) -> bool:
    return bool(text) and source.find(text) == source.rfind(text)
