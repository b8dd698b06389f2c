"""The summary screen: what a run has found, whether the gain holds, and what to do next. It opens when the app finds no loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen

from core.reporting import summary
from core.reporting.status import RunStatus
from nanochat.contract.registry import Entry
from tui.textual_internals import Static
from tui.view import diffs, spans
from tui.view.next_steps import Step, markup
from tui.view.night import Night
from tui.widgets.diff_text import DiffText
from tui.widgets.night_plot import NightPlot
from tui.widgets.pane import SCROLL_KEYS, Pane

REFRESH_S = 2.0
TALL = 30  # rows from which the plot is shown; on smaller screens the text has priority
WIDEST = 130  # columns of the text; longer lines are hard to read


class SummaryPane(Pane):
    """The scrolling page."""

    NUMBER: ClassVar[int] = 8
    NAME: ClassVar[str] = "summary"


SUMMARY = Entry(
    "summary",
    "What the run has found, whether the gain holds, the change from start to best, and what to do next. Without a loop, a twice applies the "
    "best train.py to your checkout, e twice exports its model, c twice resumes the run. h opens the report.",
    SummaryPane,
)


@dataclass(frozen=True)
class Contents:
    """What the screen shows: the status, the points of the plot, the change from start to best as a unified diff, and the keys."""

    status: RunStatus
    night: Night
    diff: str
    steps: tuple[Step, ...]  # the keys that are valid now


class SummaryScreen(ModalScreen[None]):
    """Shows the summary of the run, updated every REFRESH_S seconds."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *SCROLL_KEYS,
        Binding("R", "app.runs", "runs", priority=True),
        Binding("escape,8,enter", "dismiss", "back", priority=True),
        Binding("a", "app.apply_best", "apply"),
        Binding("h", "app.open_report", "report"),
        Binding("e", "app.export_best", "export"),
        Binding("c", "app.continue_run", "continue"),
        Binding("q,ctrl+c,ctrl+q", "app.detach", "detach", priority=True),
        Binding("question_mark", "app.explain", "help", priority=True),
    ]

    def __init__(self, contents: Callable[[], Contents]) -> None:
        """`contents` returns what to show now."""
        super().__init__()
        self._contents = contents
        self._shown: tuple[int, bool, Contents] | None = None  # the width, whether the plot fits, and the contents

    def compose(self) -> ComposeResult:
        page = SummaryPane()
        page.set_title("summary · escape goes to the panes")
        with page:
            yield Static(id="summary-result")
            yield NightPlot(id="summary-night")
            yield Static(id="summary-text")
            yield Static(id="summary-title")
            yield DiffText(id="summary-diff")
        yield Static(id="page-keys")

    def on_mount(self) -> None:
        self.query_one(SummaryPane).focus()
        self._refresh_page()
        self.set_interval(REFRESH_S, self._refresh_page)

    def on_resize(self, event: events.Resize) -> None:
        self._refresh_page()

    def _refresh_page(self) -> None:
        width, is_tall = self.query_one(SummaryPane).scrollable_content_region.width, self.size.height >= TALL
        if width < 1:  # not laid out yet
            return
        found = self._contents()
        if self._shown == (width, is_tall, found):
            return
        self._shown = (width, is_tall, found)
        self.query_one("#page-keys", Static).update(Content.from_markup(markup(found.steps)))
        plot, columns = self.query_one(NightPlot), min(width, WIDEST)
        plot.display = bool(found.night.stairs) and found.status.tried > 0 and is_tall
        plot.show_night(found.night)
        self.query_one("#summary-result", Static).update(spans.content(summary.result(found.status, columns)))
        self.query_one("#summary-text", Static).update(spans.content(summary.details(found.status, columns, bars=True)))
        self.query_one(DiffText).show(diffs.parse(found.diff), width)
        self.on_diff_text_folded()

    def on_diff_text_folded(self) -> None:
        """Show in the title of the change whether it is folded."""
        if self._shown is not None:
            lines = diffs.parse(self._shown[2].diff)
            self.query_one("#summary-title", Static).update(_change_title(lines, self.query_one(DiffText).notes))


def _change_title(lines: Sequence[diffs.Line], notes: str) -> Content:
    """Return the line above the change from start to best."""
    if not lines:
        return Content("")
    added, removed = diffs.count_changes(lines)
    title = (f"The change from start to best, +{added} −{removed}", "bold")
    return Content.assemble("\n", title, (f"  {notes}", "$foreground 60%"))
