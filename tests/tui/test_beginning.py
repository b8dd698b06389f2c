"""The app before there is a journal, and when one comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import journal
from tests.tui.conftest import app_on, screen_text, until
from tui.panes.experiments import ExperimentsPane


@pytest.mark.parametrize(("size", "panes"), [((120, 40), 7), ((80, 24), 1)])
async def test_it_waits_for_the_journal_and_then_shows_all(recorded: Path, size: tuple[int, int], panes: int) -> None:
    path = recorded / journal.NAME
    away = path.rename(recorded / "away")
    app = app_on(recorded)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "waiting for its journal" in screen_text(app))
        assert recorded.name in screen_text(app) and not any(pane.display for pane in app.query(".pane"))
        await pilot.press("5", "z", "j", "G", "slash", "escape", "question_mark", "escape", "8", "a", "p", "enter", "f")
        await pilot.press("z")
        await pilot.resize_terminal(60, 16)
        await pilot.resize_terminal(*size)
        away.rename(path)
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.pause()
        assert sum(pane.display for pane in app.query(".pane")) == panes
        assert app.focused is app.query_one(ExperimentsPane)
        assert "waiting for its journal" not in screen_text(app)
        assert "K keep" in screen_text(app)


async def test_who_types_when_the_journal_comes_types_on(recorded: Path) -> None:
    path = recorded / journal.NAME
    away = path.rename(recorded / "away")
    app = app_on(recorded)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "waiting for its journal" in screen_text(app))
        await pilot.press("slash", "k", "e")
        away.rename(path)
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("e", "p", "enter")
        await pilot.pause()
        assert app.focused is app.query_one(ExperimentsPane) and "“keep”" in screen_text(app)


async def test_a_page_that_is_open_when_the_journal_comes_gives_way_to_the_experiments(recorded: Path) -> None:
    path = recorded / journal.NAME
    away = path.rename(recorded / "away")
    app = app_on(recorded)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "waiting for its journal" in screen_text(app))
        await pilot.press("question_mark")
        away.rename(path)
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("escape")
        await pilot.pause()
        assert [pane.id for pane in app.query(".pane") if pane.display] == ["experiments"]
        assert app.focused is app.query_one(ExperimentsPane)
