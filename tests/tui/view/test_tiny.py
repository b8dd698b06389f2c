"""Terminals that are too small, and terminals with 256 colours."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.color import Color as TerminalColor
from rich.color import ColorSystem
from textual.color import Color
from textual.theme import BUILTIN_THEMES

from core.run import commands
from tests.tui.conftest import HERE, app_on, screen_text, until
from tests.tui.living import Living
from tui.app import AutoResearch
from tui.panes.change import ChangePane
from tui.panes.experiments import ExperimentsPane
from tui.screens.detail import DetailScreen
from tui.screens.main import main_screen

SMALL = (40, 10)


async def test_a_tiny_terminal_says_how_the_run_stands(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "best 2.9050" in screen_text(app))
        shown = [line.strip() for line in screen_text(app).splitlines()]
        assert shown[0] == "nov23 finished" and shown[1] == "best 2.9050 −2.1035  2/8 kept"
        assert shown[2].startswith("○ finished")
        assert shown[3].startswith("9 inconclusive") and "+0.0143 Larger" in shown[3] and shown[3].endswith("…")
        assert shown[-1] == "q detach  enter details  / search"
        await pilot.resize_terminal(120, 36)
        await until(pilot, lambda: "5 experiments" in screen_text(app))
        await pilot.resize_terminal(50, 13)
        await until(pilot, lambda: main_screen(app).is_tiny and "panes from 60x16" in screen_text(app))


async def test_the_table_of_a_tiny_terminal_has_a_cursor_and_opens_the_details(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("2")
        await pilot.resize_terminal(*SMALL)
        await until(pilot, lambda: app.focused is app.query_one(ExperimentsPane))
        await pilot.press("j", "j")
        await until(pilot, lambda: app.followed is not None and app.followed.number == 7)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, DetailScreen) and "#7 crash" in screen_text(app))
        assert max(map(len, screen_text(app).splitlines())) == SMALL[0]
        await pilot.press("right_square_bracket", "escape")
        await until(pilot, lambda: not isinstance(app.screen, DetailScreen) and app.followed.number == 8)  # type: ignore[union-attr]
        await pilot.resize_terminal(120, 36)
        await until(pilot, lambda: app.main.pane_number == "2" and app.query_one(ChangePane).has_focus)


async def test_a_tiny_terminal_pauses_the_loop(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await until(pilot, lambda: "p pause" in screen_text(app))
        await pilot.press("p")
        await until(pilot, lambda: living.told(commands.Pause))


async def test_a_tiny_terminal_follows_a_loop_and_names_what_waits(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "#11 is approved in 0:41" in screen_text(app))
        assert "50%" in screen_text(app) and "● alive" in screen_text(app)
        assert "inconclusive" not in screen_text(app), "the proposal has the place of the table"
        living.wait(11, left_s=12.0)
        await until(pilot, lambda: "#11 is approved in 0:12" in screen_text(app))
        living.wait(11, held=True)
        await until(pilot, lambda: "#11 waits, countdown paused" in screen_text(app))


@pytest.mark.parametrize("size", [SMALL, (58, 14), (59, 40), (200, 10)])
@pytest.mark.parametrize(("key", "kind"), [("a", commands.Approve), ("s", commands.Skip)])
async def test_a_tiny_terminal_shows_what_waits_and_answers_it(
    living: Living, size: tuple[int, int], key: str, kind: type[commands.Data]
) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: "a approve  s skip" in screen_text(app))
        shown = screen_text(app)
        assert "Another activation." in shown and "- LR = 2" in shown and "+ LR = 1" in shown
        await pilot.press(key)
        await until(pilot, lambda: living.told(kind))
        assert living.told(kind)[0].number == 11


async def test_a_long_proposal_leaves_room_for_the_keys(living: Living) -> None:
    living.propose(12, "A hypothesis of many words. " * 30)
    (living.folder / "00012" / "change.diff").write_text("--- a/x\n+++ b/x\n@@ -1 +1,9 @@\n" + "+LR = 1\n" * 9)
    living.wait(12)
    app = app_on(living.folder)
    async with app.run_test(size=(58, 14)) as pilot:
        await until(pilot, lambda: "#12 is approved in" in screen_text(app))
        shown = [line.strip() for line in screen_text(app).splitlines()]
        assert shown[5].endswith("…") and shown[6:11] == [*["+ LR = 1"] * 4, "… and 5 more"]
        assert shown[12] == "panes from 60x16" and shown[13] == "a approve  s skip  p pause  S skip, why  q detach"


async def test_a_terminal_too_small_for_a_proposal_answers_nothing(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=(39, 10)) as pilot:
        await until(pilot, lambda: "enlarge the terminal to answer" in screen_text(app))
        assert "a approve" not in screen_text(app)
        await pilot.press("a", "s")
        await pilot.resize_terminal(*SMALL)
        await until(pilot, lambda: "a approve" in screen_text(app))
        await pilot.press("s")
        await until(pilot, lambda: living.told(commands.Skip))
        assert not living.told(commands.Approve) and len(living.told(commands.Skip)) == 1


async def test_a_read_only_app_shows_what_waits_without_keys(living: Living) -> None:
    app = AutoResearch(living.folder, HERE / "recorded" / "program.md", opens_summary=False, read_only=True)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: "Another activation." in screen_text(app))
        assert "a approve" not in screen_text(app) and "enlarge" not in screen_text(app)


async def test_a_tiny_terminal_says_what_it_needs_before_there_is_a_journal(tmp_path: Path) -> None:
    app = app_on(tmp_path / "nov23")
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        shown = [line.strip() for line in screen_text(app).splitlines()]
        assert shown[:2] == ["nov23 waits for its journal", "panes from 60x16"]


@pytest.mark.parametrize("name", sorted(name for name in BUILTIN_THEMES if not name.startswith("ansi")))
def test_the_row_of_the_cursor_and_verdicts_are_told_apart_in_256_colours(name: str) -> None:
    """The strengths and tones are those of `app.tcss`, `panes/experiments.tcss` and `view/experiments.py`."""
    theme = BUILTIN_THEMES[name].to_color_system().generate()

    def number(colour: Color) -> int | None:
        return TerminalColor.from_rgb(*colour.rgb).downgrade(ColorSystem.EIGHT_BIT).number

    plain = Color.parse(theme["background"])
    assert number(plain.blend(Color.parse(theme["accent"]), 0.25, 1.0)) != number(plain)
    verdicts = {number(Color.parse(theme[tone])) for tone in ("success", "text-error", "warning", "text-primary")}
    assert len(verdicts) == 4, "kept, worse, waiting or failed, and running"
