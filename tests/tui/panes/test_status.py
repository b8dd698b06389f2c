"""The status line of a run that has kept nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.record import journal
from tests.tui.conftest import app_on, screen_text, until
from tui.panes.status import StatusLine

AA_NIGHT = Path(__file__).parents[2] / "recorded" / "aa-night"


@pytest.mark.parametrize(
    ("size", "words"), [((160, 40), "start 1.4457 (mean of 8 seeds)"), ((80, 24), "start 1.4457"), ((40, 10), "start")]
)
async def test_it_shows_the_start_and_not_a_best(tmp_path: Path, size: tuple[int, int], words: str) -> None:
    """The mean of the start moves with each further seed, and what is called the best would seem to get better."""
    folder = tmp_path / "aa"
    folder.mkdir()
    shutil.copy(AA_NIGHT / journal.NAME, folder / journal.NAME)
    app = app_on(folder)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.bridge.loaded and "0/60 kept" in screen_text(app))
        shown = screen_text(app)
        assert words in shown and "best 1." not in shown
        line = str(app.query(StatusLine).first().content) if size[0] > 60 else ""
        assert "asks you" not in line and "unattended" not in line, "it has ended"
