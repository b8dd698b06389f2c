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
