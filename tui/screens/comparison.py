"""The comparison screen: two experiments, their curves, their changes, and what differs between the two train.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.content import Content
from textual.screen import ModalScreen

from core.reporting import comparison, phrases
from core.reporting.comparison import Comparison, Side
from tui.system import colours
from tui.textual_internals import Static
from tui.view import diffs, spans
from tui.view.curves import Curve
from tui.widgets.diff_text import DiffText
from tui.widgets.loss_plot import Line, draw_losses
from tui.widgets.pane import SCROLL_KEYS, Pane
from tui.widgets.plot import Plot

REFRESH_S = 2.0  # between two updates while one of the two has no verdict
WIDE = 110  # columns from which the two changes stand side by side
WIDEST = 130  # columns of the text; longer lines are hard to read
GAP = 3  # columns between the two changes
SIDES = ("first", "second")


@dataclass(frozen=True)
class Contents:
    """What the screen shows: the comparison, and the change and the loss curve of each of the two."""

    comparison: Comparison
    changes: tuple[str, str]  # unified diffs
    curves: tuple[Curve, Curve]


class ComparisonPane(Pane):
    """The scrolling page."""

    NUMBER: ClassVar[int] = 0
    NAME: ClassVar[str] = "comparison"


class ComparisonScreen(ModalScreen[None]):
    """Compares two experiments."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *SCROLL_KEYS,
        Binding("escape,q,c,enter", "dismiss", "back", priority=True),
        Binding("ctrl+c,ctrl+q", "app.detach", "detach", priority=True),
        Binding("question_mark", "app.explain", "help", priority=True),
    ]

    def __init__(self, contents: Callable[[], Contents]) -> None:
        """`contents` returns what to show now."""
        super().__init__()
        self._contents = contents
        self._shown: tuple[int, Contents] | None = None  # the width and the contents

    def compose(self) -> ComposeResult:
        with ComparisonPane():
            yield Static(id="comparison-figures")
            yield Static(id="comparison-legend")
            yield Plot(id="comparison-curves")
            with Container(id="comparison-changes"):
                for side in SIDES:
                    with Vertical(id=f"comparison-{side}"):
                        yield Static(id=f"comparison-{side}-title")
                        yield DiffText(id=f"comparison-{side}-diff")
            yield Static(id="comparison-between")
            yield DiffText(id="comparison-diff")
        yield Static("escape back  j k scroll  ← → long lines  ? help", id="page-keys")

    def on_mount(self) -> None:
        self.query_one(ComparisonPane).focus()
        self.show()
        self.set_interval(REFRESH_S, self._refresh_open)

    def on_resize(self, event: events.Resize) -> None:
        self.show()

    def _refresh_open(self) -> None:
        """Update the page while one of the two has no verdict."""
        if self._shown is None or any(side.is_open for side in self._shown[1].comparison.sides):
            self.show()

    def show(self) -> None:
        """Show the present contents. Does nothing before the screen is composed."""
        if not self.query(ComparisonPane):
            return
        page, found = self.query_one(ComparisonPane), self._contents()
        width = page.scrollable_content_region.width
        if width < 1 or self._shown == (width, found):
            return
        self._shown = (width, found)
        both, lines = found.comparison, comparison.lines(found.comparison, min(width, WIDEST))
        self._text("comparison-figures", spans.content(lines))
        self._show_curves(found)
        self._show_changes(found, width)
        self._text("comparison-between", _title(phrases.typeset(comparison.difference_title(both))))
        self.query_one("#comparison-diff", DiffText).show(diffs.parse(both.diff), width)
        self.on_diff_text_folded()

    def on_diff_text_folded(self) -> None:
        """Show in the title what the keys of the diffs are."""
        found = sorted(self.query(DiffText), key=lambda diff: not diff.is_folded)  # F unfolds all if one is folded
        notes = next((diff.notes for diff in found if diff.notes), "")
        if self._shown is not None:
            first, second = self._shown[1].comparison.sides
            self.query_one(ComparisonPane).set_title(f"comparison of {first.name} and {second.name}", notes)

    def _show_curves(self, contents: Contents) -> None:
        """Draw both curves with a legend. Without any curve, only the legend says so."""
        first, second = contents.curves
        apart = colours.tell_curves_apart(self.app)
        plot = self.query_one(Plot)
        plot.display = bool(first.loss or second.loss)
        lines = (Line(first, "primary", marker="" if apart else "·"), Line(second, "accent"))
        plot.show(lambda plot: draw_losses(plot, lines))
        self._text("comparison-legend", _legend(contents, "━━" if apart else "·━"))

    def _show_changes(self, contents: Contents, width: int) -> None:
        """Show both changes, side by side on a wide screen."""
        is_wide = width >= WIDE
        self.query_one("#comparison-changes").set_class(is_wide, "-wide")
        columns = (width - GAP) // 2 if is_wide else width
        both = contents.comparison
        for name, side, change in zip(SIDES, both.sides, contents.changes, strict=True):
            lines = diffs.parse(change)
            self._text(f"comparison-{name}-title", _title(_change_title(side, lines)))
            self.query_one(f"#comparison-{name}-diff", DiffText).show(lines, columns)

    def _text(self, name: str, content: Content) -> None:
        self.query_one(f"#{name}", Static).update(content)


def _title(text: str) -> Content:
    return Content.assemble("\n", (text, "bold"))


def _change_title(side: Side, lines: list[diffs.Line]) -> str:
    """Return the line above the change of one of the two."""
    if side.parent is None:
        return "The start has no change: the run began with it"
    if not lines:
        return f"The change of {side.name} cannot be read in the folder of the run"
    added, removed = diffs.count_changes(lines)
    return f"What {side.name} changes in {side.against}, +{added} −{removed}"


def _legend(contents: Contents, marks: str) -> Content:
    """Return the names of the curves with their last losses. `marks`: how each is drawn."""
    parts: list[Content] = []
    for side, curve, mark, tone in zip(
        contents.comparison.sides, contents.curves, marks, ("$primary", "$accent"), strict=True
    ):
        loss = f"{side.name} {curve.smooth()[-1]:.3f}" if curve.loss else f"{side.name} without a curve"
        parts.append(Content.assemble((f"{mark} ", tone if curve.loss else ""), loss, "   "))
    unit = "final loss, smoothed, nats per token"
    return Content.assemble("\n", *parts, (unit, "$foreground 60%"))
