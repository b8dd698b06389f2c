"""The details of an experiment."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from core.record import journal
from tests.tui.conftest import app_on, screen_text, until
from tests.tui.living import Living
from tui.panes.experiments import ExperimentsPane
from tui.screens.detail import DetailScreen
from tui.widgets.plot import Plot

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


async def test_there_is_nothing_older_than_the_oldest_and_nothing_newer_than_the_newest(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("G", "enter", "left_square_bracket")
        await until(pilot, lambda: "There is no older experiment in the table." in screen_text(app))
        await pilot.press("escape", "g", "enter", "right_square_bracket")
        await until(pilot, lambda: "There is no newer experiment in the table." in screen_text(app))
        assert isinstance(app.screen, DetailScreen) and app.screen.number == 9


@pytest.mark.parametrize("has_colours", [True, False])
async def test_both_curves_have_a_legend_and_the_plot_has_round_ticks(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, has_colours: bool
) -> None:
    if not has_colours:
        monkeypatch.setenv("NO_COLOR", "1")
    app = app_on(recorded)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        app.open_details(9)
        await until(pilot, lambda: app.screen.query(Plot) and "100%" in app.screen.query_one(Plot).render().plain)
        legend = next(line for line in screen_text(app).splitlines() if "nats per token" in line)
        assert "━ #9 " in legend and f"{'━' if has_colours else '·'} parent " in legend
        plot = app.screen.query_one(Plot).render().plain.splitlines()
        assert plot[-1].split() == ["0%", "50%", "100%"]
        ticks = [float(line.split()[0]) for line in plot[:-1] if re.match(r" *[0-9]", line)]
        steps = {f"{a - b:.4f}" for a, b in pairwise(ticks)}
        assert len(ticks) > 1 and len(steps) == 1 and steps.pop().strip("0.") in ("1", "2", "5"), ticks


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
