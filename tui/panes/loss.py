"""The loss pane: the loss of the followed training, compared with that of the best at equal progress."""

from __future__ import annotations

import math
from typing import ClassVar

from textual.app import ComposeResult
from textual.widgets import Static

from core.reporting.axes import decimals, ticks
from tui.view import words
from tui.view.curves import Curve, thin
from tui.view.jobs import RunningJob
from tui.widgets.pane import Pane
from tui.widgets.plot import Plot


class LossPane(Pane):
    """A plot with the latest figures below it."""

    NUMBER: ClassVar[int] = 3
    NAME: ClassVar[str] = "loss"

    def __init__(self) -> None:
        super().__init__()
        self.logarithmic = False

    def compose(self) -> ComposeResult:
        yield Plot(id="curve")
        yield Static(id="pulse")

    def show(self, name: str, curve: Curve, best: Curve, job: RunningJob | None) -> None:
        """Draw two curves.

        Args:
            name: Name of the training.
            curve: Its curve.
            best: The curve of the best; empty if it is the same training.
            job: The running job with the latest figures; None if it is not running.
        """
        last = job.loss if job is not None and job.loss is not None else curve.loss[-1] if curve.loss else None
        value = f"{last:.3f}" if last is not None and math.isfinite(last) else words.MISSING
        scale = "nats per token, log" if self.logarithmic else "nats per token"
        legend = f"━ {name}  {'·' if self.app.no_color else '━'} best  {scale}" if best.loss else scale
        self.set_title(f"loss · {name} {value}" if name else "loss", legend if curve.loss else "")
        self.query_one(Plot).show(lambda plot: self._draw(plot, curve, best))
        self.query_one("#pulse", Static).update("  ".join(_figures(curve, best, job)), layout=False)

    def _draw(self, plot: Plot, curve: Curve, best: Curve) -> None:
        most_points = max(8, plot.size.width * 2)
        losses: list[float] = []
        for line, tone in ((best, "foreground-darken-2"), (curve, "accent")):
            xs, ys = thin(line.progress, line.smooth(), most_points)
            points = [
                (x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y) and (y > 0 or not self.logarithmic)
            ]
            losses += [y for _, y in points]
            if points:
                heights = [self._height(y) for _, y in points]
                plot.line([x for x, _ in points], heights, tone, dashed=line is best and self.app.no_color)
        plot.range_x(0.0, 1.0)
        plot.ticks_x([0.0, 0.5, 1.0], ["0%", "50%", "100%"])
        if losses and max(losses) > min(losses):
            marks = ticks(min(losses), max(losses), max(2, plot.size.height // 3))
            plot.ticks_y([self._height(mark) for mark in marks], [f"{mark:.{decimals(marks)}f}" for mark in marks])

    def _height(self, loss: float) -> float:
        """Return the vertical position of a loss."""
        return math.log10(loss) if self.logarithmic else loss


def _figures(curve: Curve, best: Curve, job: RunningJob | None) -> list[str]:
    """Return the sparkline, the difference from the best, the time left, and the speed."""
    figures = [words.sparkline(curve.smooth(), 8)] if curve.loss else []
    own = curve.at(1.0)
    if own is not None and best.loss and curve.progress:
        reference = best.at(curve.progress[-1])
        if reference is not None:
            figures.append(f"{own - reference:+.3f}".replace("-", "−"))
    if job is not None:
        if job.left_s is not None:
            figures.append(words.clock(job.left_s))
        figures.append(f"{words.rate(job.tokens_per_s)}/s")
    return figures
