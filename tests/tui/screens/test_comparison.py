"""Two experiments side by side in the app."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from core.change import edits
from tests.tui.conftest import app_on, screen_text, until
from tests.tui.living import Living
from tui.app import AutoResearch
from tui.panes.experiments import ExperimentsPane
from tui.screens.comparison import ComparisonScreen
from tui.screens.detail import DetailScreen
from tui.screens.help import HelpScreen
from tui.widgets.diff_text import DiffText

SMALL, FULL, HUGE = (80, 24), (140, 34), (200, 50)
MARKED = "comparing with #9: choose another and press c, escape to leave"


@pytest.mark.parametrize("size", [SMALL, FULL])
async def test_two_presses_compare_two_experiments(recorded: Path, size: tuple[int, int]) -> None:
    app = app_on(recorded)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("c")
        await until(pilot, lambda: "comparing with #9" in screen_text(app))
        assert "◆9" in screen_text(app)
        await pilot.press("j", "c")
        assert isinstance(app.screen, ComparisonScreen)
        await until(pilot, lambda: "comparison of #9 and #8" in screen_text(app))
        assert app.screen.query_one("#comparison").region.width == size[0], "it covers the whole screen"
        shown = screen_text(app)
        assert "◆9" not in shown and "5 experiments" not in shown
        await pilot.press("G")
        await until(pilot, lambda: "−" in screen_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, ComparisonScreen) and MARKED not in screen_text(app))


async def test_everything_about_both_is_on_the_page_and_the_start_can_be_one_of_them(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=(200, 90)) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("j", "c", "G", "c")
        await until(pilot, lambda: "comparison of #8 and #1" in screen_text(app))
        shown = screen_text(app)
        for words in ("A larger step still.", "A larger step: the table", "kept, val_bpb", "against the start", "final loss",
                      "What #8 changes in #1, +1 −1", "What #1 changes in the start, +1 −1", "train.py from #8 to #1", "#1 is worse"):  # fmt: skip
            assert words in shown, shown
        first, second = (app.screen.query_one(f"#comparison-{name}") for name in ("first", "second"))
        assert first.region.y == second.region.y and first.region.right < second.region.x, "side by side"
        await pilot.resize_terminal(*SMALL)
        await until(pilot, lambda: first.region.bottom <= second.region.y)
        await pilot.resize_terminal(*HUGE)
        await pilot.press("escape", "C")
        await until(pilot, lambda: "comparison of the start and #1" in screen_text(app))
        shown = screen_text(app)
        assert (
            "The start has no change" in shown and "− LR = 0.0005" in shown and "#1 is better than the start" in shown
        )


async def test_the_same_row_and_escape_remove_the_mark(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        for key in ("c", "escape"):
            await pilot.press("j", "c")
            await until(pilot, lambda: "◆" in screen_text(app))
            chosen = app.followed
            await pilot.press(key)
            await until(pilot, lambda: "◆" not in screen_text(app) and "comparing with" not in screen_text(app))
            assert app.followed is chosen, "the cursor stays"
        await pilot.press("g")
        assert app.query_one(ExperimentsPane).following


async def test_a_mark_outlives_sorting_and_filtering_and_works_in_the_details(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("c", "f", "greater_than_sign", "enter")
        assert isinstance(app.screen, DetailScreen)
        number = app.screen.number
        await until(pilot, lambda: "comparing with #9: choose another and press c" in screen_text(app))
        await pilot.press("c")
        await until(pilot, lambda: f"comparison of #9 and #{number}" in screen_text(app))
        await pilot.press("question_mark", "escape", "escape")
        assert isinstance(app.screen, DetailScreen)


async def test_files_that_are_gone_are_named(recorded: Path) -> None:
    for number in (8, 9):
        shutil.rmtree(recorded / f"{number:05d}")
    app = app_on(recorded)
    async with app.run_test(size=HUGE) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("c", "j", "c")
        await until(pilot, lambda: "The train.py of #9 and of #8 cannot be read in the folder" in screen_text(app))
        assert "The change of #9 cannot be read in the folder of the run" in screen_text(app)


async def test_one_that_runs_is_compared_and_gets_its_verdict(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=HUGE) as pilot:
        await until(pilot, lambda: 11 in app.bridge.state.experiments)
        app.mark(8)
        app.selection.chosen = 10
        await pilot.press("c")
        await until(pilot, lambda: "unknown, because #10 has no score" in screen_text(app))
        assert "without a curve" in screen_text(app)
        living.record("judged", number=10, verdict="skipped", finding="f")
        await until(pilot, lambda: "skipped, no score" in screen_text(app))
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape")
        await pilot.pause()
        holds = [command.on for command in living.heard if type(command).__name__ == "Hold"]
        assert holds == [True], "the clock of the waiting proposal stays held until the comparison is closed"


async def test_long_lines_of_all_diffs_move_together(recorded: Path) -> None:
    long = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-LR = 2  # " + "word " * 25 + "last\n+LR = 1\n"
    (recorded / "00009" / "change.diff").write_text(long)
    app: AutoResearch = app_on(recorded)
    async with app.run_test(size=(100, 50)) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("c", "j", "c")
        await until(pilot, lambda: "← → long lines ─" in screen_text(app))
        assert "− LR = 2  # word" in screen_text(app) and "last" not in screen_text(app).split("What #9")[1]
        await pilot.press(*["right"] * 4)
        await until(pilot, lambda: "word last" in screen_text(app))
        await pilot.press(*["left"] * 4)
        await until(pilot, lambda: "− LR = 2  # word" in screen_text(app))
        assert len(app.screen.query(DiffText)) == 3


async def test_the_keys_of_parts_go_through_all_diffs_and_fold_them_alike(recorded: Path) -> None:
    old = "".join(f"x{n} = {n}\n" for n in range(60))
    for number in (8, 9):
        new = old.replace("x5 = 5", f"x5 = 6  # {number}").replace("x50 = 50", f"x50 = 51  # {number}")
        (recorded / f"{number:05d}" / "change.diff").write_text(edits.unified(old, new))
    app: AutoResearch = app_on(recorded)
    async with app.run_test(size=(100, 50)) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("c", "j", "c")
        await until(pilot, lambda: "F folds" in screen_text(app))
        found = list(app.screen.query(DiffText))
        walked = [diff for diff in found if diff.hunks]
        assert [diff.hunks for diff in walked[:2]] == [2, 2]

        def chosen() -> list[bool]:
            return [diff.is_chosen for diff in walked[:2]]

        await pilot.press("left_curly_bracket")
        await until(pilot, lambda: chosen() == [True, False])
        await pilot.press("right_curly_bracket", "right_curly_bracket", "minus")
        await until(pilot, lambda: chosen() == [False, True] and walked[1].is_folded)
        assert not walked[0].is_folded and "1 of 2 parts folded, F unfolds" in screen_text(app)
        await pilot.press("left_curly_bracket")
        await until(pilot, lambda: chosen() == [True, False])
        await pilot.press("F")
        await until(pilot, lambda: not any(diff.is_folded for diff in found))
        await pilot.press("F")
        await until(pilot, lambda: all(diff.is_folded for diff in walked))
        walked[1].action_fold(0)  # as by a click
        await until(pilot, lambda: chosen() == [False, True])
        await pilot.press(*["right_curly_bracket"] * 9)
        await until(pilot, lambda: walked[-1].is_chosen, 10)
