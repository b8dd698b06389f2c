"""Diffs as the change pane draws them."""

from __future__ import annotations

import colorsys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.color import Color as TerminalColor
from rich.color import ColorSystem
from textual.color import Color
from textual.style import Style
from textual.theme import BUILTIN_THEMES

from core.change import edits
from tui.view import diffs

OLD = "a = 1\nb = 2\nc = 3\n"
NEW = "a = 1\nb = [2]  # [bold]\nc = 3\n"


def test_a_diff_of_ours_is_parsed_back() -> None:
    lines = diffs.parse(edits.unified(OLD, NEW))
    assert diffs.count_changes(lines) == (1, 1)
    assert [(line.sign, line.text) for line in lines if line.sign in "+-"] == [
        ("-", "b = 2"),
        ("+", "b = [2]  # [bold]"),
    ]


def test_where_a_change_begins() -> None:
    long = "".join(f"x{n} = {n}\n" for n in range(50))
    assert diffs.first_line(edits.unified(long, long.replace("x30 = 30", "x30 = 31"))) == 31
    assert diffs.first_line(edits.unified(long, long.replace("x30 = 30\n", ""))) == 31
    assert diffs.first_line("") == diffs.first_line("nonsense") == 1


def test_markup_in_code_stays_text() -> None:
    assert "b = [2]  # [bold]" in diffs.render(diffs.parse(edits.unified(OLD, NEW)), 60).plain


def test_wide_screens_show_old_and_new_beside_each_other() -> None:
    rows = diffs.render(diffs.parse(edits.unified(OLD, NEW)), 120).plain.split("\n")
    (row,) = [row for row in rows if "b = 2" in row]
    assert "b = [2]" in row and "│" in row and len(row) <= 120


def test_long_lines_move_sideways_and_no_word_is_torn() -> None:
    new = OLD.replace("b = 2", "b = 2 + " + "word * " * 40 + "the_end")
    lines = diffs.parse(edits.unified(OLD, new))
    at_first, moved = (
        diffs.render(lines, 50, offset).plain.split("\n") for offset in (0, diffs.most_offset(lines, 50))
    )
    assert len(at_first) == len(moved) == len(lines), "a line of the diff is a line on the screen"
    assert all(len(row) <= 50 for row in (*at_first, *moved))
    assert any(row.startswith("+ b = 2 + word") and row.endswith("…") for row in at_first)
    assert any(row.startswith("+ …") and row.rstrip().endswith("the_end") for row in moved)
    assert diffs.most_offset(diffs.parse(edits.unified(OLD, NEW)), 50) == 0


@given(st.text(), st.integers(1, 300), st.integers(0, 50))
def test_nothing_breaks_it(text: str, width: int, offset: int) -> None:
    lines = diffs.parse("@@ -1 +1 @@\n" + text)
    diffs.render(lines, width, min(offset, diffs.most_offset(lines, width)))


@given(
    st.lists(st.sampled_from(["x = 1", "y = 'ä'", "", "    z"]), max_size=20),
    st.lists(st.text("ab\n", max_size=9), max_size=5),
)
def test_as_many_lines_added_and_removed_as_git_says(old: list[str], new: list[str]) -> None:
    one, two = "\n".join(old) + "\n", "\n".join([*old[:3], *new]) + "\n"
    assert diffs.count_changes(diffs.parse(edits.unified(one, two))) == edits.added_removed(one, two)


def test_a_sign_has_its_colour_on_the_background_of_the_pane() -> None:
    for width in (60, 120):  # one column and two
        content = diffs.render(diffs.parse(edits.unified(OLD, NEW)), width)
        for sign, style in (("− b", diffs.DARK_SIGNS["-"]), ("+ b", diffs.DARK_SIGNS["+"])):
            at = content.plain.index(sign)
            assert {str(span.style) for span in content.spans if span.start <= at < span.end} == {style}


def test_where_there_are_no_shades_the_text_has_the_colour() -> None:
    for width in (60, 120):  # one column and two
        lines = diffs.parse(edits.unified(OLD, NEW))
        content = diffs.render(lines, width, palette=diffs.PALETTES["few", True])
        assert content.plain == diffs.render(lines, width).plain, "only the colours differ"
        for code, style in (("− b", "ansi_red"), ("+ b", "ansi_green")):
            at = content.plain.index(code)
            for place in (at, at + 2):
                assert {str(span.style) for span in content.spans if span.start <= place < span.end} == {style}


@pytest.mark.parametrize("depth", ["256", "many"])
@pytest.mark.parametrize("name", sorted(name for name in BUILTIN_THEMES if not name.startswith("ansi")))
def test_added_is_green_and_removed_is_red_in_every_theme(name: str, depth: diffs.Depth) -> None:
    theme = BUILTIN_THEMES[name]
    palette, plain = diffs.PALETTES[depth, theme.dark], Color.parse(theme.to_color_system().generate()["background"])
    for sign, hue in (("+", (60, 180)), ("-", (-30, 30))):
        line, mark = Style.parse(palette.lines[sign]).background, Style.parse(palette.signs[sign]).foreground
        assert line is not None and mark is not None
        for colour in (plain.blend(line, line.a, 1.0), mark):
            shown = TerminalColor.from_rgb(*colour.rgb)
            if depth == "256":
                shown = shown.downgrade(ColorSystem.EIGHT_BIT)
            red, green, blue = (part / 255 for part in shown.get_truecolor())
            found, saturation, _ = colorsys.rgb_to_hsv(red, green, blue)
            degrees = found * 360 - (360 if found > 0.75 else 0)
            assert hue[0] <= degrees <= hue[1] and saturation > 0.1, (sign, shown, degrees, saturation)
