"""Parse unified diffs and render them as highlighted text, in one column or side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from rich.cells import cell_len
from textual.content import Content
from textual.highlight import highlight
from textual.style import Style

from tui.view import words

Depth = Literal["few", "256", "many"]  # how many colours there are
_HUNK = re.compile(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@ ?(.*)")
MOST_LINES = 2000  # lines of a diff that are shown
MOST_CHARACTERS = 400  # characters of a line that are shown
SIGN = 2  # columns of the sign before a line


@dataclass(frozen=True)
class Palette:
    """The styles of added and removed lines, which are green and red in every theme.

    The colours of a theme do not always look so: in some, success is blue, and among 256 colours there are few pale greens and reds,
    so that a blend becomes grey or purple. The signs are colours that 256 colours have.

    Attributes:
        signs: Sign -> the style of the sign before a line.
        lines: Sign -> the style of a line of code.
        is_plain: Whether the code is not highlighted, since the colours have no shades for a background.
    """

    signs: Mapping[str, str]
    lines: Mapping[str, str]
    is_plain: bool = False


DARK_SIGNS = {"+": "bold #5fd75f", "-": "bold #ff5f5f", " ": ""}
LIGHT_SIGNS = {"+": "bold #008700", "-": "bold #d70000", " ": ""}
BLENDED = {"+": "on #00be00 18%", "-": "on #ff0000 24%", " ": ""}
PALETTES: Mapping[tuple[Depth, bool], Palette] = {  # by the number of colours, and whether the theme is dark
    ("many", True): Palette(DARK_SIGNS, BLENDED),
    ("many", False): Palette(LIGHT_SIGNS, BLENDED | {"-": "on #ff0000 15%"}),
    ("256", True): Palette(DARK_SIGNS, {"+": "on #005f00", "-": "on #5f0000", " ": ""}),
    ("256", False): Palette(LIGHT_SIGNS, {"+": "on #d7ffd7", "-": "on #ffd7d7", " ": ""}),
    **{
        ("few", dark): Palette(
            {"+": "bold ansi_green", "-": "bold ansi_red", " ": ""}, {"+": "ansi_green", "-": "ansi_red", " ": ""}, True
        )
        for dark in (True, False)
    },
}


@dataclass(frozen=True)
class Line:
    """One line of a diff. `sign` is +, -, a space, or @ for the heading of a hunk."""

    sign: str
    text: str
    hunk: int | None = None  # of a heading that can be clicked: its hunk, counted from 0
    chosen: bool = False  # the user has gone to this hunk


def parse(diff: str) -> list[Line]:
    """Parse a unified diff into lines, without the names of files."""
    lines: list[Line] = []
    inside = False
    for raw in words.sanitize_text(diff).split("\n")[:MOST_LINES]:
        if match := _HUNK.match(raw):
            inside = True
            lines.append(Line("@", f"line {match[2]} {match[3]}".rstrip()))
        elif inside and raw[:1] in ("+", "-", " "):
            lines.append(Line(raw[0], raw[1 : MOST_CHARACTERS + 1]))
    return lines


def first_line(diff: str) -> int:
    """Return the line of the first change in the new file, counted from 1."""
    line = 0
    for raw in diff.split("\n"):
        if match := _HUNK.match(raw):
            line = int(match[2])
        elif line and raw[:1] in ("+", "-"):
            break
        elif line:
            line += 1
    return max(1, line)


def count_changes(lines: Sequence[Line]) -> tuple[int, int]:
    """Return the numbers of added and removed lines."""
    return sum(line.sign == "+" for line in lines), sum(line.sign == "-" for line in lines)


def longest_line(lines: Sequence[Line]) -> int:
    """Return the columns of the longest line of code."""
    return max((cell_len(line.text) for line in lines if line.sign != "@"), default=0)


def fits_side_by_side(lines: Sequence[Line], width: int) -> bool:
    """Return whether to show old and new side by side: if no line is cut off, or the screen is very wide."""
    return width >= 150 or (width >= 100 and longest_line(lines) <= _column_width(width) - SIGN)


def most_offset(lines: Sequence[Line], width: int) -> int:
    """Return how many columns the code can be moved to the left, until the end of the longest line is visible."""
    room = (_column_width(width) if fits_side_by_side(lines, width) else width) - SIGN
    return max(0, longest_line(lines) - room)


def render(lines: Sequence[Line], width: int, offset: int = 0, *, palette: Palette = PALETTES["many", True]) -> Content:
    """Return the highlighted diff, side by side if that fits into `width` columns.

    Args:
        lines: The diff.
        width: Columns. Longer lines are cut off, with an ellipsis.
        offset: Columns that the code is moved to the left.
        palette: The styles of added and removed lines.
    """
    if not lines:
        return Content("")
    code = highlight("\n".join(line.text if line.sign != "@" else "" for line in lines), language="python").split(
        "\n", allow_blank=True
    )
    coloured = [
        (line, _moved(code[i] if i < len(code) else Content(line.text), offset)) for i, line in enumerate(lines)
    ]
    draw = _two_columns if fits_side_by_side(lines, width) else _one_column
    return draw(coloured, width, palette)


def _moved(code: Content, offset: int) -> Content:
    """Return a line without its first columns. An ellipsis stands for them."""
    if offset <= 0 or not code.plain[:offset].strip():
        return code[max(0, offset) :]
    return Content.assemble(("…", "$foreground 50%"), code[offset + 1 :])


def _one_column(lines: Sequence[tuple[Line, Content]], width: int, palette: Palette) -> Content:
    rows = []
    for line, code in lines:
        if line.sign == "@":
            rows.append(_heading(line, width))
        else:
            rows.append(_signed_row(line.sign, code, width, palette))
    return Content("\n").join(rows)


def _two_columns(lines: Sequence[tuple[Line, Content]], width: int, palette: Palette) -> Content:
    half = _column_width(width)
    rows: list[Content] = []
    old: list[Content] = []
    new: list[Content] = []

    def flush() -> None:
        for left, right in zip_longest(old, new):
            rows.append(
                Content.assemble(
                    _signed_row("-", left, half, palette) if left is not None else " " * half,
                    " │ ",
                    _signed_row("+", right, half, palette) if right is not None else " " * half,
                )
            )
        old.clear()
        new.clear()

    for line, code in lines:
        if line.sign == "-":
            old.append(code)
        elif line.sign == "+":
            new.append(code)
        else:
            flush()
            if line.sign == "@":
                rows.append(_heading(line, width))
            else:
                side = _fill_row(Content.assemble("  ", code), half, "")
                rows.append(Content.assemble(side, " │ ", side))
    flush()
    return Content("\n").join(rows)


def _heading(line: Line, width: int) -> Content:
    """Return the heading of a hunk. A click folds the hunk."""
    text = Content.styled(line.text, "bold $accent" if line.chosen else "$foreground 60%")
    if text.cell_length > width:
        text = text.truncate(width, ellipsis=True)
    return text if line.hunk is None else text.stylize(Style.from_meta({"@click": f"fold({line.hunk})"}))


def _column_width(width: int) -> int:
    return (width - 3) // 2


def _signed_row(sign: str, code: Content, width: int, palette: Palette) -> Content:
    """Return a line of code in its colour, after its sign, which is visible on any colour as it has the background of the pane."""
    shown = "−" if sign == "-" else sign
    if palette.is_plain and sign != " ":
        return _fill_row(Content.styled(f"{shown} {code.plain}", palette.lines[sign]), width, "")
    return Content.assemble((f"{shown} ", palette.signs[sign]), _fill_row(code, width - SIGN, palette.lines[sign]))


def _fill_row(row: Content, width: int, style: str) -> Content:
    """Return a row in a style, padded or truncated to exactly `width` columns."""
    if row.cell_length > width:
        row = row.truncate(width, ellipsis=True)
    padded = row.pad_right(max(0, width - row.cell_length))
    return padded.stylize_before(style) if style else padded
