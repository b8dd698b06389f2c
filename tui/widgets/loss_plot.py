"""A plot of loss curves with units and round ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from core.reporting.axes import decimals, ticks
from tui.view.curves import Curve, thin
from tui.widgets.plot import Plot


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
        xs, ys = thin(line.curve.progress, line.curve.smooth(), most_points)
        points = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y) and (y > 0 or not logarithmic)]
        losses += [y for _, y in points]
        if points:
            heights = [_height(y, logarithmic) for _, y in points]
            plot.line([x for x, _ in points], heights, line.tone, line.marker)
    plot.range_x(0.0, 1.0)
    plot.ticks_x([0.0, 0.5, 1.0], ["0%", "50%", "100%"])
    if losses and max(losses) > min(losses):
        marks = ticks(min(losses), max(losses), max(2, plot.size.height // 3))
        heights = [_height(mark, logarithmic) for mark in marks]
        plot.ticks_y(heights, [f"{mark:.{decimals(marks)}f}" for mark in marks])


def _height(loss: float, logarithmic: bool) -> float:
    """Return the vertical position of a loss."""
    return math.log10(loss) if logarithmic else loss
