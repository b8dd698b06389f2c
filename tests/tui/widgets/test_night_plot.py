"""The picture of the night on a terminal."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult

from tui.view.night import Night
from tui.widgets.night_plot import NightPlot


class OnePlot(App[None]):
    def compose(self) -> ComposeResult:
        yield NightPlot(id="night")


async def drawn(night: Night, size: tuple[int, int]) -> list[str]:
    """Return the rows of the plot."""
    app = OnePlot()
    async with app.run_test(size=size) as pilot:
        app.query_one(NightPlot).show_night(night)
        await pilot.pause()
        strips = app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip) for strip in strips]


@pytest.mark.parametrize("rows", [8, 11, 14, 25, 40])
@pytest.mark.parametrize("level", [1.048, 1.04, 1.031, 1.027, 1.0222, 1.02])
async def test_a_kept_change_its_line_and_its_number_are_in_their_rows(rows: int, level: float) -> None:
    night = Night(scored=(), kept=((20, level),), failed=(), stairs=((0, 1.05), (20, level), (60, level)), sigma=0.0)
    shown = await drawn(night, (60, rows))
    at = next(index for index, row in enumerate(shown) if "●" in row)
    assert shown[at].rstrip().endswith("⠒⠒⠒"), shown
    assert "#20" in shown[at + 1], shown


async def test_a_larger_plot_has_more_levels_and_numbers() -> None:
    night = Night(
        scored=((10, 1.04), (30, 1.03)), kept=((20, 1.02),), failed=(), stairs=((0, 1.05), (20, 1.02), (60, 1.02))
    )
    small, large = await drawn(night, (30, 9)), await drawn(night, (120, 40))
    levels = [sum(row[:6].strip().startswith("1.") for row in shown) for shown in (small, large)]
    numbers = [shown[-1].count("#") for shown in (small, large)]
    assert levels[1] > levels[0] >= 2 and numbers[1] > numbers[0] >= 1, (small, large)
    assert "•" in "".join(large)


@pytest.mark.parametrize("columns", [24, 40, 100])
async def test_the_number_of_the_last_kept_change_is_whole(columns: int) -> None:
    night = Night(
        scored=((30, 1.0), (100, 1.1)), kept=((2, 1.04), (100, 1.02)), failed=(),
        stairs=((0, 1.05), (2, 1.04), (100, 1.02)), sigma=0.002,
    )  # fmt: skip
    shown = "\n".join(await drawn(night, (columns, 14)))
    assert "#100" in shown and "#2" in shown
