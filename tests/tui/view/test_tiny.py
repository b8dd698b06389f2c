"""Terminals that are too small, and terminals with 256 colours."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.color import Color as TerminalColor
from rich.color import ColorSystem
from textual.color import Color
from textual.theme import BUILTIN_THEMES

from tests.tui.conftest import app_on, screen_text, until
from tests.tui.living import Living
from tui.screens.main import main_screen

SMALL = (40, 10)


async def test_a_tiny_terminal_says_how_the_run_stands(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "best 2.9050" in screen_text(app))
        shown = [line.strip() for line in screen_text(app).splitlines()]
        assert shown[0] == "nov23 finished" and shown[1] == "best 2.9050 −2.1035  2/8 kept"
        assert shown[2].startswith("#9 inconclusive +0.0143 Larger") and shown[2].endswith("…")
        assert shown[3].startswith("○ finished") and shown[4] == "panes from 60x16 · q closes the app"
        await pilot.resize_terminal(120, 36)
        await until(pilot, lambda: "5 experiments" in screen_text(app))
        await pilot.resize_terminal(*SMALL)
        await until(pilot, lambda: main_screen(app).is_tiny and "panes from 60x16" in screen_text(app))


async def test_a_tiny_terminal_follows_a_loop_and_names_what_waits(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "#11 is approved in 0:41" in screen_text(app))
        assert "50%" in screen_text(app) and "● alive" in screen_text(app)
        assert "enlarge the terminal to answer" in screen_text(app)
        living.wait(11, left_s=12.0)
        await until(pilot, lambda: "#11 is approved in 0:12" in screen_text(app))
        living.wait(11, held=True)
        await until(pilot, lambda: "#11 waits, countdown paused" in screen_text(app))


async def test_a_tiny_terminal_says_what_it_needs_before_there_is_a_journal(tmp_path: Path) -> None:
    app = app_on(tmp_path / "nov23")
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        shown = [line.strip() for line in screen_text(app).splitlines()]
        assert shown[:2] == ["nov23 waits for its journal", "panes from 60x16 · q closes the app"]


@pytest.mark.parametrize("name", sorted(name for name in BUILTIN_THEMES if not name.startswith("ansi")))
def test_the_row_of_the_cursor_and_changed_lines_are_visible_in_256_colours(name: str) -> None:
    """The strengths are those of `app.tcss`, `panes/experiments.tcss` and `view/diffs.py`."""
    theme = BUILTIN_THEMES[name].to_color_system().generate()

    def number(colour: Color) -> int | None:
        return TerminalColor.from_rgb(*colour.rgb).downgrade(ColorSystem.EIGHT_BIT).number

    plain = Color.parse(theme["background"])
    for tone, strength in (("accent", 0.25), ("success", 0.18), ("error", 0.18)):
        assert number(plain.blend(Color.parse(theme[tone]), strength, 1.0)) != number(plain), tone
