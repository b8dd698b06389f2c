"""Folding and moving a diff, by key and by mouse."""

from __future__ import annotations

from pathlib import Path

from core.change import edits
from core.reporting.results import BEST_DIFF
from tests.tui.conftest import HERE, app_on, screen_text, until
from tui.app import AutoResearch
from tui.panes.change import ChangePane
from tui.run_files import diff_path
from tui.screens.summary import SummaryScreen
from tui.widgets.diff_text import DiffText

OLD = "".join(f"x{n} = {n}\n" for n in range(200))
NEW = OLD.replace("x5 = 5", "x5 = 6" + " + 1" * 60 + "  # the end").replace("x150 = 150", "x150 = 151  # far below")


async def test_the_parts_of_a_change_are_folded_by_key_and_by_mouse(recorded: Path) -> None:
    diff_path(recorded, 9).write_text(edits.unified(OLD, NEW))
    app = app_on(recorded)
    async with app.run_test(size=(140, 40)) as pilot:
        await until(pilot, lambda: app.bridge.loaded and "F folds" in screen_text(app))
        await pilot.press("F")  # in the table, where the cursor is
        await until(pilot, lambda: "▸ line 3  +1 −1" in screen_text(app))
        assert "2 of 2 parts folded, F unfolds" in screen_text(
            app
        ) and "▸ line 148  +1 −1  + x150 = 151" in screen_text(app)
        diff = app.query_one(ChangePane).query_one(DiffText)
        await pilot.click(diff, offset=(3, 1))
        await until(pilot, lambda: "▾ line 148" in screen_text(app))
        assert "1 of 2 parts folded" in screen_text(app)
        await pilot.press("2", "F")
        await until(pilot, lambda: "▾ line 3" in screen_text(app) and "folded" not in screen_text(app))
        await pilot.press("right_curly_bracket", "right_curly_bracket", "minus")
        await until(pilot, lambda: "▸ line 148" in screen_text(app))
        await pilot.press(*["right"] * 20)
        await until(pilot, lambda: "# the end" in screen_text(app))
        assert "▸ line 148" in screen_text(app), "headings stay where they are"


async def test_the_change_of_a_whole_night_is_folded_and_walked(recorded: Path) -> None:
    (recorded / BEST_DIFF).write_text(edits.unified(OLD, NEW))
    app = AutoResearch(recorded, HERE / "recorded" / "program.md")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, SummaryScreen))
        await pilot.pause(0.1)
        await pilot.press("right_curly_bracket", "right_curly_bracket")
        await until(pilot, lambda: "# far below" in screen_text(app))
        await pilot.press("F", "G")
        await until(pilot, lambda: "2 of 2 parts folded, F unfolds" in screen_text(app))
        assert "# far below" in screen_text(app) and "  x149 = 149" not in screen_text(app)
