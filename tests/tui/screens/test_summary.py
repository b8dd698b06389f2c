"""The summary: it opens where there is a result to see, and never in the user's way."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import ClassVar

import pytest
from msgspec import structs

import tui.app
from core.judging import schedule
from core.record import journal
from core.record.fold import fold
from core.record.live import Picture
from core.reporting import status, summary
from core.reporting.results import BEST_DIFF
from tests.tui.conftest import HERE, screen_text, until
from tests.tui.living import Living
from tui.app import AutoResearch
from tui.screens.summary import Contents, SummaryScreen

RECORDED = HERE.parent / "recorded"
PROGRAM = HERE / "recorded" / "program.md"
DIFF = "--- a/train.py\n+++ b/train.py\n@@ -3,1 +3,1 @@\n-LR = 1\n+LR = 2  # the whole change\n"


@pytest.mark.parametrize("size", [(140, 40), (80, 24)])
async def test_it_opens_at_a_run_that_has_ended(recorded: Path, size: tuple[int, int]) -> None:
    (recorded / BEST_DIFF).write_text(DIFF)
    app = AutoResearch(recorded, PROGRAM)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: isinstance(app.screen, SummaryScreen))
        await pilot.pause(0.2)
        shown = " ".join(screen_text(app).split())
        assert "finished: the agent has nothing left to propose" in shown and "val_bpb 5.0085 → 2.9050" in shown
        assert "A larger step" in shown and "make report" in shown
        await pilot.press("G")
        await pilot.pause()
        assert "the whole change" in screen_text(app)
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is app.main and "5 experiments" in screen_text(app)
        await pilot.press("8")
        await pilot.pause()
        assert isinstance(app.screen, SummaryScreen)


async def test_its_contents_are_computed_once_at_the_start(recorded: Path) -> None:
    class Counting(AutoResearch):
        CSS_PATH: ClassVar[list[str | PurePath]] = [
            Path(tui.app.__file__).parent / path for path in AutoResearch.CSS_PATH
        ]
        computed = 0

        def _summary(self) -> Contents:
            self.computed += 1
            return super()._summary()

    app = Counting(recorded, PROGRAM)
    async with app.run_test(size=(140, 40)) as pilot:
        await until(pilot, lambda: "1 program.md" not in screen_text(app) and "result" in screen_text(app))
        assert app.computed == 1
        await pilot.press("escape")
        await until(pilot, lambda: "1 program.md" in screen_text(app) and "Aim" in screen_text(app))


async def test_it_opens_when_the_run_ends_and_not_before(living: Living) -> None:
    app = AutoResearch(living.folder, PROGRAM)
    async with app.run_test(size=(140, 40)) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.pause(0.3)
        assert app.screen is app.main
        living.record("stopped", reason="reached --max-experiments 11", finished=True)
        await until(pilot, lambda: isinstance(app.screen, SummaryScreen))


async def test_it_does_not_open_while_the_user_types(living: Living) -> None:
    app = AutoResearch(living.folder, PROGRAM)
    async with app.run_test(size=(140, 40)) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("slash", "a")
        living.record("stopped", reason="reached --max-experiments 11", finished=True)
        await until(pilot, lambda: app.bridge.state.stopped is not None)
        await pilot.pause(0.3)
        assert app.screen is app.main


@pytest.mark.parametrize("width", [54, 60, 76, 120])
def test_no_line_of_a_run_at_work_is_too_long_for_a_small_terminal(width: int) -> None:
    state = fold(journal.read(RECORDED / "fifty" / "events.jsonl"))
    noise = schedule.noise(state)
    found = structs.replace(status.status(state, noise, 1, Picture()), scoreboard=())
    latest = summary.text(summary.summary(found, width)).splitlines()
    rows = [line for line in latest if " latest " in line or line.startswith(" " * summary.LABEL + "#")]
    assert rows and max(map(len, rows)) <= width and max(map(len, latest[1:3])) <= width
