"""The night pane: a dot for each experiment, and a staircase for the best so far."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from tui.view import words
from tui.view.night import Night, val_bpb_range
from tui.widgets.pane import Pane
from tui.widgets.plot import Plot

FINER = 2  # dots that differ by less than half a cell are drawn once


class NightPane(Pane):
    """A plot of all experiments of the run."""

    NUMBER: ClassVar[int] = 6
    NAME: ClassVar[str] = "the night"

    def compose(self) -> ComposeResult:
        yield Plot(id="dots")

    def show(self, night: Night) -> None:
        """Draw the plot. Does nothing before the baseline has a score."""
        if not night.stairs:
            return
        first, last = night.stairs[0][1], night.stairs[-1][1]
        self.set_title("the night", f"{words.bpb(first)} → {words.bpb(last)}" if last != first else "")
        self.query_one(Plot).show(lambda plot: _draw(plot, night))


def _draw(plot: Plot, night: Night) -> None:
    """Draw dots and staircase. Failed experiments and far worse scores are at the upper edge."""
    bottom, top = val_bpb_range(night)
    xs, ys = [], []
    for (x0, y0), (x1, _) in zip(night.stairs, night.stairs[1:], strict=False):
        xs += [x0, x1]
        ys += [y0, y0]
    if xs:
        plot.line([float(x) for x in xs], ys, "success")
    last = max(1, night.stairs[-1][0], *night.failed)
    column, row = FINER * plot.size.width / last, FINER * plot.size.height / (top - bottom)
    for points, tone, marker in ((night.scored, "foreground-darken-2", "·"), (night.kept, "success", "●")):
        apart = {(int(x * column), int(y * row)): (x, y) for x, y in points}  # one per place
        if apart:
            plot.dots([float(x) for x, _ in apart.values()], [min(y, top) for _, y in apart.values()], tone, marker)
    if night.failed:
        plot.dots([float(x) for x in night.failed], [top] * len(night.failed), "warning", "×")
    plot.range_y(bottom, top)
    plot.range_x(0, last)
    plot.ticks_x([0, last], ["0", str(last)])
    above = "≥" if any(value > top for _, value in night.scored) else ""
    levels = [value for _, value in night.stairs]
    marks = {level: f"{level:.3f}" for level in sorted({levels[0], min(levels)})} | {top: f"{above}{top:.3f}"}
    plot.ticks_y(list(marks), list(marks.values()))
