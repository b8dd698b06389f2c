"""The list of all runs, and two of them side by side in the app."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from textual.command import CommandList

from core.record import journal
from core.run import comparing
from tests.tui.conftest import HERE, app_on, screen_text, until
from tests.tui.living import Living
from tui import keys
from tui.actions.runs import reader
from tui.app import AutoResearch
from tui.screens.help import HelpScreen
from tui.screens.run_comparison import RunComparisonScreen
from tui.screens.runs import RunsScreen
from tui.screens.summary import SummaryScreen

SMALL, FULL, HUGE = (80, 24), (120, 36), (200, 90)
FOUND = HERE.parent / "recorded" / "found" / journal.NAME


@pytest.fixture
def two(recorded: Path) -> Path:
    """A run with its files. Beside it is the journal of another one, `found`."""
    (recorded.parent / "found").mkdir()
    shutil.copyfile(FOUND, recorded.parent / "found" / journal.NAME)
    return recorded


@pytest.mark.parametrize("size", [SMALL, FULL])
async def test_another_run_is_compared_with_this_one(two: Path, size: tuple[int, int]) -> None:
    app = app_on(two)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("R")
        await until(pilot, lambda: "5 of 30" in screen_text(app))
        shown = screen_text(app)
        assert "◆ nov23" in shown and "◆ found" not in shown and "change (− is better)" in shown and "−0.0766" in shown
        await pilot.press("c")
        assert isinstance(app.screen, RunComparisonScreen)
        await until(pilot, lambda: "Not comparable" in screen_text(app))
        assert "comparison of nov23 and found" in screen_text(app) and "other budgets (1 s and 60 s)" in screen_text(
            app
        )
        await pilot.press("escape")
        assert isinstance(app.screen, RunsScreen)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app.main)


async def test_all_of_two_runs_is_on_the_page(two: Path) -> None:
    app = app_on(two)
    async with app.run_test(size=HUGE) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("R")
        await until(pilot, lambda: "5 of 30" in screen_text(app))
        await pilot.press("c")
        await until(pilot, lambda: "nov23 kept 2 changes" in screen_text(app))
        shown = screen_text(app)
        for words in ("found kept 5 changes", "2.9050", "−0.0550 ± 0.0050, holds", "trainings", "cpu-fp32, 60 s each", "found −0.0766",
                      "nov23 −2.1035", "#30   DEPTH 1 → 2", "The best train.py of found cannot be read", "by time", "lower is better"):  # fmt: skip
            assert words in shown, (words, shown)
        first, second = (app.screen.query_one(f"#runs-{side}-kept") for side in ("first", "second"))
        assert first.region.y == second.region.y and first.region.right < second.region.x, "side by side"
        await pilot.press("x")
        await until(pilot, lambda: "by trainings" in screen_text(app) and "63" in screen_text(app))
        await pilot.resize_terminal(*SMALL)
        await until(pilot, lambda: first.region.bottom <= second.region.y)
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape", "escape", "escape")
        await until(pilot, lambda: app.screen is app.main)


async def test_any_two_runs_can_be_chosen(two: Path) -> None:
    shutil.copytree(two, two.parent / "nov24")
    app = app_on(two)
    async with app.run_test(size=FULL, notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("R")
        await until(pilot, lambda: "5 of 30" in screen_text(app))
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        names = [run.run for run in screen._runs]
        for name in ("nov23", "nov24"):  # remove the mark of this run, mark the other one
            screen.query_one("#runs-list").highlighted = names.index(name)  # type: ignore[attr-defined]
            await pilot.press("c")
        await until(pilot, lambda: "◆ nov24" in screen_text(app) and "◆ nov23" not in screen_text(app))
        screen.query_one("#runs-list").highlighted = names.index("found")  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, lambda: "comparison of nov24 and found" in screen_text(app))
        await until(pilot, lambda: "Not comparable" in screen_text(app))


async def test_two_runs_that_found_the_same_have_no_diff(two: Path) -> None:
    shutil.copytree(two, two.parent / "nov24")
    app = app_on(two)
    async with app.run_test(size=HUGE) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        app.on_runs_screen_chosen(RunsScreen.Chosen("nov23", "nov24"))
        await until(pilot, lambda: "The best of both have the same train.py." in screen_text(app))


async def test_the_list_opens_from_the_summary_and_by_name(two: Path) -> None:
    app = AutoResearch(two, HERE / "recorded" / "program.md")
    async with app.run_test(size=FULL, notifications=True) as pilot:
        await until(pilot, lambda: isinstance(app.screen, SummaryScreen))
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen) and "5 of 30" in screen_text(app))
        await pilot.press("c", "x")
        await until(pilot, lambda: "by trainings" in screen_text(app))
        assert not list(app._notifications), "no key of these pages is refused"
        await pilot.press("escape")
        await pilot.press("q", "escape")
        await until(pilot, lambda: app.screen is app.main)
        await pilot.press("colon", *"compares")
        await until(pilot, lambda: app.screen.query_one(CommandList).option_count >= 1)


async def test_a_run_that_cannot_be_read_is_named_and_one_alone_has_nothing_to_compare(recorded: Path) -> None:
    (recorded.parent / "broken").mkdir()
    (recorded.parent / "broken" / journal.NAME).write_text("{}\n{}\n")
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("R")
        await until(pilot, lambda: "There is no other run to compare with." in screen_text(app))
        assert "broken: " in screen_text(app)
        app.on_runs_screen_chosen(RunsScreen.Chosen("nov23", "broken"))
        await until(pilot, lambda: "events.jsonl" in screen_text(app))


async def test_a_run_that_was_deleted_meanwhile_is_named(two: Path) -> None:
    app = app_on(two)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("R")
        await until(pilot, lambda: "5 of 30" in screen_text(app))
        shutil.rmtree(two.parent / "found")
        await pilot.press("c")
        await until(pilot, lambda: "Run found is gone: it was deleted or moved." in screen_text(app))
        await pilot.press("escape", "escape")
        await until(pilot, lambda: app.screen is app.main)


def test_a_browser_is_shown_one_run() -> None:
    browser, key = keys.KeyContext(browser=True), keys.key_of("R")
    assert key is not None and not keys.is_valid(key.action, browser) and keys.is_valid(key.action, keys.KeyContext())
    assert keys.reason(key, browser, "") == keys.ONE_RUN and "runs" not in [
        key.action for key in keys.valid_keys(browser)
    ]


async def test_a_run_at_work_is_read_again(living: Living) -> None:
    """The page reads both journals only when one has grown."""
    other = living.folder.parent / "found"
    other.mkdir()
    shutil.copyfile(FOUND, other / journal.NAME)
    read = reader(living.folder, other)
    before = read()
    assert before is not None and read() is None
    living.record("judged", number=11, verdict="skipped", finding="f")
    after = read()
    assert after is not None and after != before


def test_progress_ends_at_the_gain_of_the_run_and_counts_trainings_and_hours(two: Path) -> None:
    pair = comparing.read_runs(two, two.parent / "found")
    for facts, steps in zip(pair.comparison.runs, pair.progress, strict=True):
        assert facts.gain is not None and steps[-1].change == pytest.approx(facts.gain.change)
        assert (steps[0].change, steps[0].trainings) == (0.0, 0) and steps[-1].trainings == facts.trainings
        assert steps[-1].hours == pytest.approx(facts.hours)
        assert len(steps) == facts.kept + 2 and list(steps) == sorted(steps, key=lambda step: step.hours)
    measured = sum(json.loads(line)["type"] == "measured" for line in FOUND.read_text().splitlines())
    assert pair.comparison.runs[1].trainings == measured
