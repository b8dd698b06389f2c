"""The loss pane: what is drawn, when it is drawn again, and which curves stand beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.tui.conftest import app_on, screen_text, until
from tests.tui.living import Living
from tui.panes.loss import LossPane
from tui.view.curves import Curve
from tui.widgets.plot import Plot

SIZE = (120, 36)


def pane_text(app: object) -> str:
    return app.query_one(LossPane).query_one(Plot).render().plain  # type: ignore[attr-defined,no-any-return]


async def test_figures_follow_each_point_and_the_plot_each_dot(living: Living) -> None:
    """Drawing is most of the app's load, so a point that changes no dot is not drawn."""
    app = app_on(living.folder)
    job = living.folder / "00010" / "j000910"
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.bridge.loaded and "3 loss · #10 3." in screen_text(app))
        await pilot.press("j")  # from the waiting proposal to the one that trains
        await until(pilot, lambda: "50%" in pane_text(app))
        pane = app.query_one(LossPane)
        plot, drawn, title = pane.query_one(Plot), [], str(pane.border_title)
        plot.show = lambda draw: drawn.append(draw)  # type: ignore[method-assign]
        with (job / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": 41, "progress": 0.5001, "loss": 2.5}) + "\n")
        slot = {**living._picture["slots"][0], "loss": 2.5, "step": 41}
        living.show(slots=[slot])
        await until(pilot, lambda: str(pane.border_title) != title)
        assert not drawn
        with (job / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": 60, "progress": 0.8, "loss": 2.0}) + "\n")
        living.show(slots=[{**slot, "loss": 2.0, "step": 60}])
        await until(pilot, lambda: drawn)


@pytest.mark.parametrize("colours", [True, False])
async def test_three_more_curves_have_a_legend_and_differ_without_colours(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, colours: bool
) -> None:
    if not colours:
        monkeypatch.setenv("NO_COLOR", "1")
    app = app_on(recorded)
    async with app.run_test(size=(200, 50), notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        scored = [n for n, e in app.bridge.state.experiments.items() if e.scored is not None]
        for number in scored[:4]:  # the fourth takes the place of the first
            app.selection.pin(number)
        app.updates.show_loss()
        await pilot.pause()
        shown = app.selection.pinned
        assert shown == scored[1:4]
        legend = screen_text(app)
        best = app.bridge.state.kept[-1]
        others = [n for n in shown if app.followed is not None and n not in (app.followed.number, best)]
        assert len(others) == 2, "the curve of the best is there anyway"
        for number, marker in zip(others, "+xo", strict=False):
            assert f"{'━' if colours else marker} #{number}" in legend, legend
            assert colours or marker in pane_text(app), pane_text(app)


async def test_the_best_in_training_is_told_from_its_earlier_curve(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=(200, 50)) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        curve = Curve([0.0, 0.5, 1.0], [3.0, 2.5, 2.0])
        pane = app.query_one(LossPane)
        pane.show("best", curve, Curve([0.0, 1.0], [3.0, 2.1]), None)
        assert pane._legend.plain == "━ best  ━ best before  nats per token"
        pane.show("#3", curve, Curve([0.0, 1.0], [3.0, 2.1]), None)
        assert pane._legend.plain == "━ #3  ━ best  nats per token"


async def test_the_key_keeps_the_curve_of_the_selected_experiment(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("G", "v", "g")
        await until(pilot, lambda: "━ #1" in screen_text(app))
        assert app.selection.pinned == [1] and app.followed is not None and app.followed.number != 1
        await pilot.press("G", "v", "g")
        await until(pilot, lambda: "━ #1" not in screen_text(app))


async def test_an_experiment_without_a_curve_is_not_kept(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        without = next(n for n, e in app.bridge.state.experiments.items() if e.scored is None)
        app.selection.chosen = without
        app.action_pin()
        await until(pilot, lambda: f"#{without} has no loss curve to keep." in screen_text(app))
        assert app.selection.pinned == []


async def test_a_training_that_goes_on_has_no_whole_curve_to_keep_yet(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        app.selection.chosen = 10
        await pilot.press("v")
        await until(pilot, lambda: any(n.message == "#10 has no whole curve yet." for n in app._notifications))
        assert not app.selection.pinned


async def test_a_training_that_diverges_is_shown_in_the_logarithmic_scale(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        pane = app.query_one(LossPane)
        pane.logarithmic = True
        pane.show("#3", Curve([0.1, 0.2, 0.3, 0.4], [10.8, 9.5, 3e12, 3e12]), Curve(), None)
        await until(pilot, lambda: "e+1" in pane_text(app))
