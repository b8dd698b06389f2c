"""The loss of the running training against the best's at equal progress."""

from __future__ import annotations

import math
from typing import ClassVar

from textual.app import ComposeResult
from textual.widgets import Static

from tui.view import words
from tui.view.curves import Curve, thin
from tui.view.status import Slot
from tui.widgets.pane import Pane
from tui.widgets.plot import Plot


class LossPane(Pane):
    """A plot, and the latest figures below."""

    NUMBER: ClassVar[int] = 3
    NAME: ClassVar[str] = "loss"
    ABOUT: ClassVar[str] = (
        "The training loss (nats per token, smoothed) over progress, and the best's beside it, dotted. Below: its course, tokens "
        "per second, time left, and how far it lies from the best at equal progress. `L` switches the log scale."
    )

    def __init__(self) -> None:
        super().__init__()
        self.logarithmic = False

    def compose(self) -> ComposeResult:
        yield Plot(id="curve")
        yield Static(id="pulse")

    def show(self, name: str, curve: Curve, reference: Curve, reference_name: str, slot: Slot | None) -> None:
        """Draw `curve` over `reference`; `slot` has the running job's latest figures."""
        last = slot.loss if slot is not None and slot.loss is not None else curve.loss[-1] if curve.loss else None
        value = f"{last:.3f}" if last is not None and math.isfinite(last) else words.MISSING
        legend = f"━ {name}  · {reference_name}" if curve.loss and reference.loss else ""
        self.head(
            f"loss · {name} {value}" if name else "loss", f"{legend}{'  log' if self.logarithmic else ''}".strip()
        )
        self.query_one(Plot).show(lambda plot: self._draw(plot, curve, reference))
        parts = [words.sparkline(curve.smooth(), 8)] if curve.loss else []
        ours = curve.at(1.0)
        if ours is not None and reference.loss and curve.progress:
            theirs = reference.at(curve.progress[-1])
            if theirs is not None:
                parts.append(f"{ours - theirs:+.3f}".replace("-", "−"))
        if slot is not None:
            if slot.left_s is not None:
                parts.append(words.clock(slot.left_s))
            parts.append(f"{words.rate(slot.tokens_per_s)}/s")
        self.query_one("#pulse", Static).update("  ".join(parts), layout=False)

    def _draw(self, plot: Plot, curve: Curve, reference: Curve) -> None:
        points = max(8, plot.size.width * 2)
        seen: list[float] = []
        for line, tone in ((reference, "foreground-darken-3"), (curve, "accent")):
            dashed = line is reference
            xs, ys = thin(line.progress, line.smooth(), points)
            if self.logarithmic:
                ys = [math.log10(y) if y > 0 else math.nan for y in ys]
            kept = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(y)]
            seen += [y for _, y in kept]
            if kept:
                plot.line([x for x, _ in kept], [y for _, y in kept], tone, dashed=dashed)
        plot.range_x(0.0, 1.0)
        if seen:
            low, high = min(seen), max(seen)
            marks = [low, (low + high) / 2, high] if high > low else [low]
            plot.ticks_y(marks, [f"{10**mark if self.logarithmic else mark:.2f}" for mark in marks])
