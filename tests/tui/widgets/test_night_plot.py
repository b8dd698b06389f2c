"""The picture of the night on a terminal."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult

from tui.view.night import Night
from tui.widgets.night_plot import NightPlot


class OnePlot(App[None]):
    def compose(self) -> ComposeResult:
        yield NightPlot(id="night")


@pytest.mark.parametrize("columns", [24, 40, 100])
async def test_the_number_of_the_last_kept_change_is_whole(columns: int) -> None:
    night = Night(
        scored=((30, 1.0), (100, 1.1)), kept=((2, 1.04), (100, 1.02)), failed=(),
        stairs=((0, 1.05), (2, 1.04), (100, 1.02)), sigma=0.002,
    )  # fmt: skip
    app = OnePlot()
    async with app.run_test(size=(columns, 14)) as pilot:
        app.query_one(NightPlot).show_night(night)
        await pilot.pause()
        strips = app.screen._compositor.render_strips()
        shown = "\n".join("".join(segment.text for segment in strip) for strip in strips)
    assert "#100" in shown and "#2" in shown
