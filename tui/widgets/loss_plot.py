"""A plot of loss curves with units and round ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from core.reporting.axes import decimals, ticks
from tui.view.curves import Curve, thin
from tui.view.words import LARGEST
from tui.widgets.plot import Plot

LONG = 1e6  # from which a mark is written with an exponent


class Line(NamedTuple):
    """A curve with its tone. One that is drawn with a marker differs from others even without colours."""

    curve: Curve
    tone: str
    marker: str = ""


def draw_losses(plot: Plot, lines: Sequence[Line], *, logarithmic: bool = False) -> None:
    """Draw smoothed loss curves over the progress, the last one on top."""
    most_points = max(8, plot.size.width * 2)
    losses: list[float] = []
    for line in lines:
        clipped = [max(-LARGEST, min(LARGEST, loss)) for loss in line.curve.smooth()]
        xs, ys = thin(line.curve.progress, clipped, most_points)
        points = [(x, y) for x, y in zip(xs, ys, strict=True) if y > 0 or not logarithmic]
        losses += [y for _, y in points]
        if points:
            heights = [_height(y, logarithmic) for _, y in points]
            plot.line([x for x, _ in points], heights, line.tone, line.marker)
    plot.range_x(0.0, 1.0)
    plot.ticks_x([0.0, 0.5, 1.0], ["0%", "50%", "100%"])
    if losses and max(losses) > min(losses):
        marks = ticks(min(losses), max(losses), max(2, plot.size.height // 3))
        places = decimals(marks)
        marks = [mark for mark in marks if mark > 0 or not logarithmic]  # the lowest may be rounded to 0
        plot.ticks_y([_height(mark, logarithmic) for mark in marks], [_label(mark, places) for mark in marks])
    elif losses and logarithmic:  # plotext would label the logarithms
        plot.ticks_y([_height(losses[0], logarithmic)], [_label(losses[0], 3)])


def _label(mark: float, places: int) -> str:
    """Return a mark as text. A long number would leave no room for the plot."""
    return f"{mark:.{places}f}" if abs(mark) < LONG else f"{mark:.3g}"


def _height(loss: float, logarithmic: bool) -> float:
    """Return the vertical position of a loss."""
    return math.log10(loss) if logarithmic else loss
