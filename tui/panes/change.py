"""The change pane: the hypothesis and the diff of an experiment."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.content import Content

from core.record.live import Waiting
from tui.textual_internals import Static
from tui.view import diffs, words
from tui.view.diffs import Line
from tui.widgets.diff_text import DiffText
from tui.widgets.pane import Pane

HYPOTHESIS_LINES = 4  # the detail screen shows all of it


class ChangePane(Pane):
    """Shows the change of one experiment."""

    NUMBER: ClassVar[int] = 2
    NAME: ClassVar[str] = "change"

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[int, str, str, str] | None = None
        self._lines: list[Line] = []
        self._width = 0  # that it is drawn for

    @property
    def number(self) -> int | None:
        """The experiment whose change is drawn."""
        return self._shown[0] if self._shown else None

    def compose(self) -> ComposeResult:
        yield Static(id="hypothesis")
        yield DiffText(id="diff")

    def show(self, number: int, hypothesis: str, diff: str, warning: str) -> None:
        """Show the change of an experiment.

        Args:
            number: Its number.
            hypothesis: Its hypothesis.
            diff: Its change as a unified diff.
            warning: A line above the hypothesis, or ''.
        """
        change, before = (number, hypothesis, diff, warning), self._shown
        if change == before:
            return
        self._shown = change
        self._lines = diffs.parse(diff)
        self._draw()
        if before is None or before[:3] != change[:3]:
            self.scroll_home(animate=False)

    def show_nothing(self) -> None:
        """Say that there is no proposal yet."""
        self._shown = None
        self.query_one("#hypothesis", Static).update("No proposal yet.")
        self.query_one(DiffText).show([], 0)
        self.set_class(False, "-asks")
        self.set_title()

    def show_status(self, number: int, verdict: str, waiting: Waiting | None) -> None:
        """Show in the title which experiment this is, its verdict, and whether it waits for an answer."""
        added, removed = diffs.count_changes(self._lines)
        size = f"+{added} −{removed}" if self._lines else ""
        notes = self.query_one(DiffText).notes
        size += f" · {notes}" if notes else ""
        is_waiting = waiting is not None and waiting.number == number
        self.set_class(is_waiting, "-asks")
        if is_waiting and waiting is not None:
            left = "countdown paused" if waiting.held else f"approved in {words.clock(waiting.left_s)}"
            self.set_title(f"change · #{number} waits for you · {left}", size)
        else:
            self.set_title(f"change · #{number} {verdict}", size)

    def _draw(self) -> None:
        if self._shown is None:
            return
        width = self._width = self.scrollable_content_region.width
        _, hypothesis, _, warning = self._shown
        beginning = words.sanitize_line(hypothesis, max(60, width * HYPOTHESIS_LINES - 8))
        self._update_hypothesis(Content.assemble((warning and f"{warning}\n", "$warning"), beginning))
        self.query_one(DiffText).show(self._lines, width)

    def _update_hypothesis(self, content: Content) -> None:
        """Update the hypothesis. The layout is only computed again if its height changes."""
        box = self.query_one("#hypothesis", Static)
        width, height = box.size
        box.update(content, layout=not width or content.get_height(box.styles.get_rules(), width) != height)

    def on_resize(self, event: events.Resize) -> None:
        if self.scrollable_content_region.width != self._width:
            self._draw()
