"""The status line of a run that has kept nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from core.judging.final_check import FinalCheck
from core.judging.gain import Difference
from core.record import journal
from tests.tui.conftest import app_on, screen_text, until
from tui.panes.status import StatusLine
from tui.view.status import Status

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


FOUND = Status(
    run="nov29", doing="finished", progress=None, left_s=None, gain=Difference(2.2249, 2.0871, 0.0021, 8),
    sigma=0.0131, noise_range="(0.0094 to 0.0254)", kept=3, tried=36, per_hour=None, agent="search", gate="ask", worked_s=3600.0, alive=False,
    alarm="finished: reached the limit of 36 experiments", checked=None,
)  # fmt: skip


CHECKED = FinalCheck(2.2301, 2.1850, 0.0034, 3)


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
async def test_what_was_measured_afresh_comes_before_the_noise(recorded: Path, width: int) -> None:
    app = app_on(recorded)
    async with app.run_test(size=(width, 24)) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        line = app.query(StatusLine).first()
        checked = replace(FOUND, checked=CHECKED)
        line.show(checked, None, width < 120, ("loss 3.412 ▇▆▅▄▄▃▃▃▂▂▂▂", "CPU 98%") if width < 120 else ())
        shown = str(line.content)
        assert "best 2.0871" in shown and "afresh −0.0451" in shown
        assert "noise" not in shown.partition("afresh")[0], shown
        assert all(len(one) <= width for one in shown.splitlines())


@pytest.mark.parametrize("width", [60, 72, 80])
async def test_a_warning_is_whole_on_a_small_screen(recorded: Path, width: int) -> None:
    app = app_on(recorded)
    async with app.run_test(size=(width, 16)) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        line = app.query(StatusLine).first()
        paused = replace(FOUND, alive=True, doing="paused", alarm="paused by you, p resumes")
        line.show(paused, None, True, ("#3 loss 3.412 ▇▆▅▄▄▃▃▃▂▂▂▂", "CPU 98%"))
        assert "● paused by you, p resumes" in str(line.content)
