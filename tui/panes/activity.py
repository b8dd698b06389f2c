"""The activity pane: the journal as text, the agent's streamed text, and the trainer's last lines."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.content import Content

from tui.textual_internals import Static
from tui.view import words
from tui.widgets.pane import Pane

MOST_LINES = 200  # lines of the journal that are kept
MOST_CHARACTERS = 400  # per line
LEAST, INDENT = 20, "  "  # least columns of a line, and what is before its rest
AWAY = "G follows the newest line"  # while the user has scrolled up


class ActivityPane(Pane):
    """Shows the latest lines."""

    NUMBER: ClassVar[int] = 7
    NAME: ClassVar[str] = "activity"

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._current_lines: list[str] = []
        self._current_height = -1  # line breaks of what is shown of them
        self._width = 0  # that the lines are drawn for

    def on_mount(self) -> None:
        self.anchor()  # stay at the end until the user scrolls

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Say how to follow the newest line again after the user has scrolled up."""
        super().watch_scroll_y(old, new)
        self.set_title("", "" if new >= self.max_scroll_y else AWAY)

    def compose(self) -> ComposeResult:
        yield Static(id="lines")
        yield Static(id="now")

    def add(self, lines: Sequence[str]) -> None:
        """Add lines about events of the journal."""
        self._lines = (self._lines + [words.sanitize_line(line, MOST_CHARACTERS) for line in lines])[-MOST_LINES:]
        self._draw_lines()

    def _draw_lines(self) -> None:
        self._width = self.scrollable_content_region.width
        self.query_one("#lines", Static).update(self._wrapped(self._lines))

    def _wrapped(self, lines: Sequence[str]) -> Content:
        """Return lines in the width of the pane. Nothing is cut off; the rest of a long line is indented."""
        width = max(LEAST, self._width)
        return Content("\n").join(
            Content("\n").join(Content(part) for part in textwrap.wrap(line, width, subsequent_indent=INDENT) or [""])
            for line in lines
        )

    def on_resize(self, event: events.Resize) -> None:
        if self.scrollable_content_region.width != self._width:
            self._draw_lines()
            self._draw_current()

    def show_current(self, lines: Sequence[str]) -> None:
        """Show current lines below the journal: streamed text, and the last step."""
        current = [words.sanitize_line(line, MOST_CHARACTERS) for line in lines]
        if current == self._current_lines:
            return
        self._current_lines = current
        self._draw_current()

    def _draw_current(self) -> None:
        box, content = self.query_one("#now", Static), self._wrapped(self._current_lines)
        resized, self._current_height = content.plain.count("\n") != self._current_height, content.plain.count("\n")
        box.display = bool(self._current_lines)
        box.update(Content.styled(content.plain, "$foreground 60%"), layout=resized)
