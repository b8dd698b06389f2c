"""The backlog of ideas as text: a list with one idea a line, between anything else that a human writes. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.text import lines_of, sanitize_line

NAME = "backlog.md"
HEAD = """\
# Ideas for this run

One idea a line, each after a dash. The first one is tried first. Add, change, move or delete lines at any time. A line that was tried gets an x
and its result.

"""
LONGEST = 200  # characters of an idea as agents see it
MOST_OPEN = 10  # untried ideas beyond which agents add none
MOST_BYTES = 1_000_000  # a larger file is not used
_IDEA = re.compile(
    r"(?P<head>\ufeff?[-*+][ \t]+)(?:\[(?P<box>[ xX])\][ \t]+)?(?P<text>(?!\[[ xX]\]\s*$)\S.*?)(?P<end>[ \t]*(?:\r?\n|\r)?)"
)
# A result as `marked` writes it. Only the last one counts, since an idea itself may look like one.
_RESULT = re.compile(r" \(#\d+: (?:(?!\(#\d+: ).)*\)$")
_MARKS = re.compile(r"^(?:[-*+]\s+|\d+[.)]\s+|\[[ xX]?\]\s*)+")


@dataclass(frozen=True)
class Line:
    """A line that has an idea. `text` is as agents see it, without the mark of its result."""

    index: int  # of the line in the file
    text: str
    tried: bool


def plain(text: str) -> str:
    """Return an idea as one printable line. Ideas that are equal in this form are the same."""
    return sanitize_line(text, LONGEST)


def ideas(text: str) -> list[Line]:
    """Return the lines with ideas, from the top. An idea begins with a dash, a star or a plus at the very left."""
    if "\0" in text:  # not plain text
        return []
    lines = []
    for index, line in enumerate(lines_of(text)):
        match = _IDEA.fullmatch(line)
        tried = match is not None and match["box"] in ("x", "X")
        idea = "" if match is None else plain(_RESULT.sub("", match["text"]) if tried else match["text"])
        if _says_something(idea):
            lines.append(Line(index, idea, tried))
    return lines


def untried(text: str, taken: Collection[str] = ()) -> tuple[str, ...]:
    """Return the ideas that were not tried, from the top, each once. `taken`: further ideas that were."""
    return tuple(dict.fromkeys(line.text for line in ideas(text) if not line.tried and line.text not in taken))


def marked(text: str, results: Mapping[str, str]) -> str:
    """Return the text with an x and the result at each untried line whose idea has one. All other lines stay as they are.

    Args:
        text: The file.
        results: Idea -> its result, such as "#12: kept, -0.0040".
    """
    lines = lines_of(text)
    for one in ideas(text):
        match = _IDEA.fullmatch(lines[one.index])
        if not one.tried and one.text in results and match is not None:
            lines[one.index] = f"{match['head']}[x] {match['text']} ({results[one.text]}){match['end']}"
    return "".join(lines)


def fresh(text: str, added: Iterable[str]) -> tuple[str, ...]:
    """Return the ideas that can be added, without marks of a list: those that the text lacks, up to MOST_OPEN untried ones in all."""
    known = {line.text.casefold() for line in ideas(text)}
    found = []
    for given in added:
        idea = bare(given)
        if idea and idea.casefold() not in known:
            known.add(idea.casefold())
            found.append(idea)
    return () if "\0" in text else tuple(found[: max(0, MOST_OPEN - len(untried(text)))])


def extended(text: str, added: Iterable[str]) -> str:
    """Return the text with those ideas at its end that are `fresh`."""
    lines = "".join(f"- {idea}\n" for idea in fresh(text, added))
    return _whole_lines(text) + lines if lines else text


def ordered(text: str, order: Sequence[str], movable: Collection[str]) -> str:
    """Return the text with some lines in another order. They change places with one another, and all other lines stay.

    Args:
        text: The file.
        order: Ideas, the most urgent first.
        movable: The ideas whose lines may be moved. Those that `order` lacks follow the others, as they were. An idea on several untried
            lines is not moved.
    """
    lines = lines_of(text)
    places = {line.text: line.index for line in _on_one_line(text) if line.text in movable}
    parts = {idea: match for idea, index in places.items() if (match := _IDEA.fullmatch(lines[index]))}
    chosen = [*dict.fromkeys(idea for idea in order if idea in places), *(idea for idea in places if idea not in order)]
    moved = list(lines)
    for place, idea in zip(places, chosen, strict=True):
        here, line = parts[place], parts[idea]  # a mark of the byte order and the line end belong to the place
        moved[places[place]] = f"{here['head']}{line.string[line.end('head') : line.start('end')]}{here['end']}"
    return "".join(moved)


def movable(text: str, own: Collection[str]) -> tuple[str, ...]:
    """Return which of these ideas `ordered` may move, from the top."""
    return tuple(line.text for line in _on_one_line(text) if line.text in own)


def _on_one_line(text: str) -> list[Line]:
    """Return the untried lines whose idea is on no other untried line."""
    lines = [line for line in ideas(text) if not line.tried]
    times = Counter(line.text for line in lines)
    return [line for line in lines if times[line.text] == 1]


def bare(text: str) -> str:
    """Return an idea of an agent without the marks of a list; "" if it says nothing."""
    bare_text = plain(_MARKS.sub("", plain(text)))
    return bare_text if _says_something(bare_text) else ""


def rescued(present: str, late: str, seen: str) -> str:
    """Return the text with the lines that a human wrote to an older copy of the file.

    Args:
        present: The file.
        late: The older copy, as it is now.
        seen: The older copy, as it was when the file was made from it.
    """
    known = {line.strip() for text in (present, seen) for line in lines_of(text)}
    lost = [line for line in lines_of(late) if line.strip() and line.strip() not in known]
    if not lost:
        return present
    return _whole_lines(present) + "".join(lost)


def _says_something(text: str) -> bool:
    return any(letter.isalnum() for letter in text)


def _whole_lines(text: str) -> str:
    """Return the text with a line end at its end, unless it is empty."""
    return text if not text or text[-1] in "\n\r" else f"{text}\n"
