"""The plot of a run: a dot for each experiment, and a staircase for the best so far with its noise."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from core.reporting.axes import decimals, ticks
from tui.view.night import Night, val_bpb_range
from tui.widgets.plot import Plot

QUARTERS = 4  # rows of braille in a cell
LEVELS = 7  # columns of the levels on the left
AXIS = 1  # lines of the names below the plot
TICK = 12  # least columns between two numbers of experiments below the plot
APART = 2  # least rows between two levels
KEPT, TRIED, FAILED = "●", "•", "×"


@dataclass(frozen=True)
class Grid:
    """The rows of cells of the plot. A line, a dot and a number at the same level are in the same row.

    Plotext rounds a line to quarters of a cell, and a dot to a whole one, so that their rows could differ.

    Attributes:
        bottom: The val_bpb at the lower edge.
        top: That at the upper edge.
        rows: The rows.
    """

    bottom: float
    top: float
    rows: int

    def row(self, level: float) -> int:
        """Return the row of a level, counted from 0 at the bottom."""
        share = (level - self.bottom) / (self.top - self.bottom)
        return round(min(1.0, max(0.0, share)) * (self.rows - 1))

    def dot(self, row: int) -> float:
        """Return the level at which a dot or a text is in a row."""
        return self._level(min(max(row, 0), self.rows - 1) / max(1, self.rows - 1))

    def line(self, row: int) -> float:
        """Return the level at which a line is in the middle of a row."""
        return self._level((QUARTERS * row + 1.5) / max(1, QUARTERS * self.rows - 1))

    def _level(self, share: float) -> float:
        return self.bottom + share * (self.top - self.bottom)


class NightPlot(Plot):
    """Draws all experiments of a run in order."""

    def show_night(self, night: Night) -> None:
        """Draw the plot. Does nothing before the start has a score."""
        if night.stairs:
            self.show(lambda plot: _draw(plot, night))


def _draw(plot: Plot, night: Night) -> None:
    """Draw the noise, the staircase, dots, and the numbers of kept changes. What has no place is at the upper edge."""
    bottom, top = val_bpb_range(night)
    grid = Grid(bottom, top, max(2, plot.size.height - AXIS))
    last = max(1, night.stairs[-1][0], *night.failed)
    _draw_noise(plot, night, grid, last)
    xs, ys = [], []
    for (x0, y0), (x1, _) in pairwise(night.stairs):
        xs += [float(x0), float(x1)]
        ys += [grid.line(grid.row(y0))] * 2
    if xs:
        plot.line(xs, ys, "success")
    column = plot.size.width / last
    for points, tone, marker in ((night.scored, "foreground-darken-1", TRIED), (night.kept, "success", KEPT)):
        apart = {(int(x * column), grid.row(y)): x for x, y in points}  # one per cell
        if apart:
            plot.dots([float(x) for x in apart.values()], [grid.dot(row) for _, row in apart], tone, marker)
    if night.failed:
        plot.dots([float(x) for x in night.failed], [top] * len(night.failed), "warning", FAILED)
    _draw_names(plot, night, grid, last)
    plot.range_y(bottom, top)
    plot.range_x(0, last)
    _draw_axes(plot, night, grid, last)


def _draw_axes(plot: Plot, night: Night, grid: Grid, last: int) -> None:
    """Write levels at the left: the best, the start, the edge, and round ones between them. Numbers of experiments are below."""
    numbers = [int(mark) for mark in ticks(0.0, float(last), max(2, plot.size.width // TICK)) if mark == int(mark)]
    plot.ticks_x([float(number) for number in numbers], [f"#{number}" if number else "0" for number in numbers])
    above = "≥" if any(value > grid.top for _, value in night.scored) else ""
    levels = [value for _, value in night.stairs]
    words = {min(levels): f"{min(levels):.3f} ", levels[0]: f"{levels[0]:.3f} ", grid.top: f"{above}{grid.top:.3f} "}
    between = ticks(grid.bottom, grid.top, max(2, grid.rows // (2 * APART)))
    words = {mark: f"{mark:.{max(3, decimals(between))}f} " for mark in between} | words
    order = [min(levels), levels[0], grid.top, *between]
    rows: dict[int, float] = {}
    for mark in order:  # of two in one row, plotext would draw any
        if all(abs(grid.row(mark) - row) >= APART for row in rows):
            rows[grid.row(mark)] = mark
    plot.ticks_y([grid.dot(row) for row in rows], [words[mark] for mark in rows.values()])


def _draw_noise(plot: Plot, night: Night, grid: Grid, last: int) -> None:
    """Shade the cells within the noise of one score around the staircase."""
    columns = max(1, plot.size.width)
    reach = round(night.sigma / (grid.top - grid.bottom) * grid.rows)  # cells above and below the staircase
    step, xs, ys = 0, [], []
    for index in range(columns):
        x = index * last / columns
        while step + 1 < len(night.stairs) and night.stairs[step + 1][0] <= x:
            step += 1
        middle = grid.row(night.stairs[step][1])
        for row in range(max(0, middle - reach), min(grid.rows, middle + reach + 1)):
            xs.append(x)
            ys.append(grid.dot(row))
    if xs:
        plot.dots(xs, ys, "foreground-darken-3", "░")


def _draw_names(plot: Plot, night: Night, grid: Grid, last: int) -> None:
    """Write the numbers of kept changes below their dots, where they do not touch each other. None crosses the edge."""
    width = max(1, plot.size.width - LEVELS)  # columns from 0 to `last`
    end = -10.0
    for number, level in night.kept:
        name = f"#{number}"
        middle = max(len(name) / 2, min(number * width / last, width - len(name) / 2 - 1))
        if middle - len(name) / 2 > end + 1:
            row = grid.row(level)
            plot.label(name, middle * last / width, grid.dot(row - 1 if row else 1), "success")
            end = middle + len(name) / 2
