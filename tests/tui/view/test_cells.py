"""Which cells of a line are written to the terminal again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from tui.view.cells import NEAR, cells_of, changed_runs

RED, BLUE = Style(color="red"), Style(color="blue")


def strip(*parts: tuple[str, Style | None]) -> Strip:
    return Strip([Segment(text, style) for text, style in parts])


def runs(before: Strip, after: Strip) -> list[str]:
    """The texts that are written."""
    return [after.crop(*run).text for run in changed_runs(cells_of(before), cells_of(after))]


def test_only_what_differs_is_written() -> None:
    before, after = strip(("#41 training  63%  1:04 left", RED)), strip(("#41 training  64%  1:03 left", RED))
    assert runs(before, before) == []
    assert runs(before, after) == ["4%  1:03"], "a gap of a few cells costs less than another movement"


def test_far_changes_are_written_apart() -> None:
    gap = "-" * (NEAR + 1)
    assert runs(strip((f"a{gap}b", RED)), strip((f"x{gap}y", RED))) == ["x", "y"]


def test_another_style_is_a_change() -> None:
    assert runs(strip(("one two", RED)), strip(("one ", RED), ("two", BLUE))) == ["two"]


@pytest.mark.parametrize(
    ("before", "after", "written"), [("a日b", "axyb", "xy"), ("axyb", "a日b", "日"), ("日x", "本x", "本")]
)
def test_wide_characters_are_written_as_a_whole(before: str, after: str, written: str) -> None:
    assert runs(strip((before, RED)), strip((after, RED))) == [written]


def test_an_accent_belongs_to_its_letter() -> None:
    assert cells_of(strip(("e\u0301x", None))) == [("e\u0301", None), ("x", None)]


def test_cells_that_are_not_known_are_written() -> None:
    assert list(changed_runs([None, ("a", None)], [("a", None), ("a", None)])) == [(0, 1)]
    assert list(changed_runs([("a", None)], [None])) == [(0, 1)]


TEXT = st.text("ab 日é", min_size=1, max_size=30)


@given(TEXT, TEXT)
def test_with_the_runs_the_old_line_becomes_the_new_one(before: str, after: str) -> None:
    width = max(Strip([Segment(before)]).cell_length, Strip([Segment(after)]).cell_length)
    old, new = (strip((text, RED)).adjust_cell_length(width) for text in (before, after))
    line, cells = list(cells_of(old)), cells_of(new)
    for start, end in changed_runs(line, cells):
        piece = new.crop(start, end)
        assert piece.cell_length == end - start and [*cells_of(piece)] == [*cells[start:end]]
        line[start:end] = cells_of(piece)
    assert line == list(cells)
