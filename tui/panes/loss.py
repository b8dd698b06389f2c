"""The loss pane: the loss of the followed training, compared with that of the best at equal progress."""

from __future__ import annotations

import math
from typing import ClassVar

from textual.app import ComposeResult
from textual.widgets import Static

from tui.view import words
from tui.view.curves import Curve
from tui.view.jobs import RunningJob
from tui.widgets.loss_plot import Line, draw_losses
from tui.widgets.pane import Pane
from tui.widgets.plot import Plot

DOTS = 2  # of braille in a column


class LossPane(Pane):
    """A plot with the latest figures below it."""

    NUMBER: ClassVar[int] = 3
    NAME: ClassVar[str] = "loss"

    def __init__(self) -> None:
        super().__init__()
        self.logarithmic = False
        self._drawn: tuple[object, ...] = ()  # what the plot shows

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
        scale, title = "nats per token", "loss (log)" if self.logarithmic else "loss"
        legend = f"━ {name}  {'·' if self.app.no_color else '━'} best  {scale}" if best.loss else scale
        self.set_title(f"{title} · {name} {value}" if name else title, legend if curve.loss else "")
        lines = (Line(best, "foreground-darken-2", dotted=self.app.no_color), Line(curve, "accent"))
        plot = self.query_one(Plot)
        drawn = (name, self.logarithmic, *(_end(line.curve, plot.size.width) for line in lines))
        if drawn != self._drawn:
            self._drawn = drawn
            plot.show(lambda plot: draw_losses(plot, lines, logarithmic=self.logarithmic))
        self.query_one("#pulse", Static).update("  ".join(_figures(curve, best, job)), layout=False)


def _end(curve: Curve, columns: int) -> tuple[int, int]:
    """Return which curve it is, and how far it reaches in a plot. Drawing costs much, so further points in the same dot must wait."""
    return (id(curve), round(curve.progress[-1] * columns * DOTS)) if curve.progress else (0, 0)


def _figures(curve: Curve, best: Curve, job: RunningJob | None) -> list[str]:
    """Return the difference from the best at equal progress, the time left, and the speed."""
    figures: list[str] = []
    own = curve.at(1.0)
    if own is not None and best.loss and curve.progress:
        reference = best.at(curve.progress[-1])
        if reference is not None:
            figures.append(f"{own - reference:+.3f} to the best".replace("-", "−"))
    if job is not None:
        if job.left_s is not None:
            figures.append(f"{words.clock(job.left_s)} left")
        if job.tokens_per_s:
            figures.append(f"{words.rate(job.tokens_per_s)} tok/s")
    return figures
