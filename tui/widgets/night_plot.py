"""The plot of a run: a dot for each experiment, and a staircase for the best so far with its noise."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tui.view.night import Night, val_bpb_range
from tui.widgets.plot import Plot

LEVELS = 7  # columns of the levels on the left
AXIS = 1  # lines of the names below the plot
FINER = 2  # dots that differ by less than half a cell are drawn once


class NightPlot(Plot):
    """Draws all experiments of a run in order."""

    def show_night(self, night: Night) -> None:
        """Draw the plot. Does nothing before the start has a score."""
        if night.stairs:
            self.show(lambda plot: _draw(plot, night))


def _draw(plot: Plot, night: Night) -> None:
    """Draw the noise, the staircase, dots, and the numbers of kept changes. What has no place is at the upper edge."""
    bottom, top = val_bpb_range(night)
    last = max(1, night.stairs[-1][0], *night.failed)
    column, row = plot.size.width / last, plot.size.height / (top - bottom)
    _draw_noise(plot, night, (bottom, top), last)
    xs, ys = [], []
    for (x0, y0), (x1, _) in pairwise(night.stairs):
        xs += [x0, x1]
        ys += [y0, y0]
    if xs:
        plot.line([float(x) for x in xs], ys, "success")
    for points, tone, marker in ((night.scored, "foreground-darken-2", "·"), (night.kept, "success", "●")):
        apart = {(int(x * column * FINER), int(y * row * FINER)): (x, y) for x, y in points}  # one per place
        if apart:
            ends = [min(max(y, bottom), top) for _, y in apart.values()]
            plot.dots([float(x) for x, _ in apart.values()], ends, tone, marker)
    if night.failed:
        plot.dots([float(x) for x in night.failed], [top] * len(night.failed), "warning", "×")
    _draw_names(plot, night, last, row)
    plot.range_y(bottom, top)
    plot.range_x(0, last)
    plot.ticks_x([0, last / 2, last], ["0", "experiment", str(last)])
    above = "≥" if any(value > top for _, value in night.scored) else ""
    levels = [value for _, value in night.stairs]
    words = {min(levels): f"{min(levels):.3f} ", levels[0]: f"{levels[0]:.3f} ", top: f"{above}{top:.3f} "}
    marks = _apart(list(words), (top - bottom) / max(1, plot.size.height - AXIS))
    plot.ticks_y(marks, [words[mark] for mark in marks])


def _apart(marks: Sequence[float], least: float) -> list[float]:
    """Return the marks that are at least so far from those before them. Of two in one line, plotext would draw any."""
    kept: list[float] = []
    for mark in marks:
        if all(abs(mark - other) >= least for other in kept):
            kept.append(mark)
    return kept


def _draw_noise(plot: Plot, night: Night, edges: tuple[float, float], last: int) -> None:
    """Shade the cells within the noise of one score around the staircase."""
    bottom, top = edges
    columns, rows = max(1, plot.size.width), max(1, plot.size.height)
    height = (top - bottom) / rows
    reach = round(night.sigma / height)  # cells above and below the staircase
    step, xs, ys = 0, [], []
    for index in range(columns):
        x = index * last / columns
        while step + 1 < len(night.stairs) and night.stairs[step + 1][0] <= x:
            step += 1
        middle = int((night.stairs[step][1] - bottom) / height)
        for cell in range(max(0, middle - reach), min(rows, middle + reach + 1)):
            xs.append(x)
            ys.append(bottom + (cell + 0.5) * height)
    if xs:
        plot.dots(xs, ys, "foreground-darken-3", "░")


def _draw_names(plot: Plot, night: Night, last: int, row: float) -> None:
    """Write the numbers of kept changes below their dots, where they do not touch each other. None crosses the edge."""
    width = max(1, plot.size.width - LEVELS)  # columns from 0 to `last`
    end = -10.0
    for number, level in night.kept:
        name = f"#{number}"
        middle = max(len(name) / 2, min(number * width / last, width - len(name) / 2 - 1))
        if middle - len(name) / 2 > end + 1:
            plot.label(name, middle * last / width, level - 1.2 / row, "success")
            end = middle + len(name) / 2
