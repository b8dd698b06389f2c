"""The details of an experiment."""

from __future__ import annotations

from pathlib import Path

from core.record import journal
from tests.tui.conftest import app_on, screen_text, until
from tests.tui.living import Living
from tui.panes.experiments import ExperimentsPane
from tui.screens.detail import DetailScreen

FULL = (120, 40)


WIDE = (200, 50)


async def test_details_walk_and_come_back(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("G", "enter")
        assert isinstance(app.screen, DetailScreen) and app.screen.number == 1
        shown = screen_text(app)
        for words in ("Better by", "git show", "val_bpb", "on the same seeds", "LR = 0.0005", "leakage probes"):
            assert words in shown, shown
        await pilot.press("right_square_bracket")
        assert app.screen.number == 2
        await pilot.press("left_square_bracket", "escape")
        assert not isinstance(app.screen, DetailScreen) and app.followed is not None and app.followed.number == 1


async def test_older_and_newer_mean_that_under_any_order(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("greater_than_sign", "greater_than_sign", "enter")
        assert isinstance(app.screen, DetailScreen) and "[ older" in screen_text(app) and "] newer" in screen_text(app)
        number, table = app.screen.number, app.query_one(ExperimentsPane)
        assert 1 < number < 9 and table.numbers[:2] != [number, number - 1]
        await pilot.press("left_square_bracket")
        assert app.screen.number == number - 1
        await pilot.press("right_square_bracket", "right_square_bracket")
        assert app.screen.number == number + 1


async def test_a_crash_shows_its_traceback_and_last_words(recorded: Path) -> None:
    app = app_on(recorded)
    number = next(n for n, e in app_state(recorded).items() if e.crash == "exception")
    async with app.run_test(size=(120, 60)) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        app.open_details(number)
        await pilot.pause()
        shown = screen_text(app)
        assert "ZeroDivisionError" in shown and "the last words" in shown


def app_state(folder: Path):  # type: ignore[no-untyped-def]
    from core.record.fold import fold

    return fold(journal.read(folder / journal.NAME)).experiments


async def test_what_was_not_trained_yet_shows_no_zeros(recorded: Path) -> None:
    run = Living(recorded)
    run.propose(10, "Halve the batch.")
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        app.open_details(10)
        await until(pilot, lambda: "nothing yet" in screen_text(app))
        assert "0 steps" not in screen_text(app) and "0s in all" not in screen_text(app)
    await run.close()
