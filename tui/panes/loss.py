"""The loss pane: the loss of the followed training, compared with that of the best at equal progress."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.content import Content

from tui.system import colours
from tui.textual_internals import Static, set_border_text
from tui.view import words
from tui.view.curves import Curve
from tui.view.jobs import RunningJob
from tui.widgets.loss_plot import Line, draw_losses
from tui.widgets.pane import FOCUSED, Pane
from tui.widgets.plot import Plot

DOTS = 2  # of braille in a column
CROWDED = 4  # curves from which the legend leaves out the unit
LINE = "━"  # stands for a curve in the legend
OTHERS = (
    ("primary", "+"),
    ("success", "x"),
    ("error", "o"),
)  # the tone of each further curve, and its marker without colours


class LossPane(Pane):
    """A plot with the latest figures below it."""

    NUMBER: ClassVar[int] = 3
    NAME: ClassVar[str] = "loss"

    def __init__(self) -> None:
        self._legend = Content("")
        super().__init__()
        self.logarithmic = False
        self._drawn: tuple[object, ...] = ()  # what the plot shows

    def compose(self) -> ComposeResult:
        yield Plot(id="curve")
        yield Static(id="pulse")

    def _draw_title(self) -> None:
        """Draw the title, and the legend in the colours of the curves."""
        set_border_text(self, self._title[0], self._legend, FOCUSED if self.has_focus else "")

    def show(
        self, name: str, curve: Curve, best: Curve, job: RunningJob | None, others: Sequence[tuple[str, Curve]] = ()
    ) -> None:
        """Draw the curves.

        Args:
            name: Name of the training.
            curve: Its curve.
            best: The curve of the best; empty if it is the same training.
            others: Names and curves of other experiments to compare with, at most as many as `OTHERS`.
            job: The running job with the latest figures; None if it is not running.
        """
        last = curve.smooth()[-1] if curve.loss else job.loss if job is not None else None  # as on the details
        value = f"{last:.3f}" if last is not None and math.isfinite(last) else words.MISSING
        scale, title = "nats per token", "loss (log)" if self.logarithmic else "loss"
        plain = not colours.tell_curves_apart(self.app)
        reference = "best before" if name == "best" else "best"  # the best is measured again
        entries = [(reference, Line(best, "foreground-darken-2", "·" if plain else ""))] if best.loss else []
        for (other, its), (tone, marker) in zip(others, OTHERS, strict=False):
            entries.append((other, Line(its, tone, marker if plain else "")))
        entries.append((name, Line(curve, "accent")))  # the last one is on top
        lines = [line for _, line in entries]
        self.set_title(f"{title} · {name} {value}" if name else title)
        self._legend = _legend(entries, scale) if len(entries) > 1 else Content(scale)
        self._draw_title()
        plot = self.query_one(Plot)
        drawn = (self._legend.plain, self.logarithmic, *(_end(line.curve, plot.size.width) for line in lines))
        if drawn != self._drawn:
            self._drawn = drawn
            plot.show(lambda plot: draw_losses(plot, lines, logarithmic=self.logarithmic))
        self.query_one("#pulse", Static).update("  ".join(_figures(curve, best, job)), layout=False)


def _legend(entries: Sequence[tuple[str, Line]], scale: str) -> Content:
    """Return the names of the curves, that of the followed training first, each after a piece of its line."""
    parts: list[tuple[str, str]] = []
    for name, line in reversed(entries):
        parts += [(f"{line.marker or LINE} ", f"${line.tone}"), (f"{name}  ", "")]
    return Content.assemble(*parts, scale if len(entries) < CROWDED else "")


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
