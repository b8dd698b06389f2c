"""Loss curves of any numbers are drawn, also of a training that diverges."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from textual.geometry import Size
from textual_plotext import Plot as Canvas

from tui.view.curves import Curve
from tui.widgets.loss_plot import Line, draw_losses
from tui.widgets.plot import Plot

FINITE = st.floats(allow_nan=False, allow_infinity=False)
DIVERGED = [10.8, 9.5, 3e12, 3e12]
WIDE = [1e308, 1.7e308, -1.7e308]


class Bare(Plot):
    """A plot outside of an app."""

    def __init__(self) -> None:
        super().__init__("curve")
        self._canvas = Canvas()

    @property
    def size(self) -> Size:
        return Size(60, 12)

    def colour(self, tone: str) -> tuple[int, int, int]:
        return 200, 100, 0


def drawn(losses: list[float], *, logarithmic: bool) -> str:
    """A picture of the losses: as they are, since a mean over all before would hide what is odd, and smoothed."""
    plot, canvas = Bare(), Canvas()
    plot._canvas = canvas
    canvas.plotsize(60, 12)
    progress = [(index + 1) / len(losses) for index in range(len(losses))]
    bare = Curve(progress, losses)
    bare._means = list(losses)
    draw_losses(plot, [Line(Curve(progress, losses), "accent"), Line(bare, "best", "+")], logarithmic=logarithmic)
    picture: str = canvas.build()
    return picture


@given(losses=st.lists(FINITE, min_size=1, max_size=300), logarithmic=st.booleans())
@example(losses=DIVERGED, logarithmic=True)
@example(losses=DIVERGED, logarithmic=False)
@example(losses=WIDE, logarithmic=True)
@example(losses=WIDE, logarithmic=False)
@example(losses=[5e-324, 1e-323], logarithmic=True)
def test_any_losses_are_drawn(losses: list[float], logarithmic: bool) -> None:
    drawn(losses, logarithmic=logarithmic)


@pytest.mark.parametrize("logarithmic", [True, False])
def test_the_labels_of_huge_losses_leave_room_for_the_plot(logarithmic: bool) -> None:
    assert "e+12" in drawn(DIVERGED, logarithmic=logarithmic)
    assert all(len(line) < 3000 for line in drawn(WIDE, logarithmic=logarithmic).splitlines())


def test_a_single_loss_has_its_own_label_in_the_logarithmic_scale() -> None:
    assert "3.125" in drawn([3.125], logarithmic=True)
