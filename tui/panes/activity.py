"""The activity pane: the journal as text, the agent's streamed text, and the trainer's last lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.content import Content

from tui.textual_internals import Static
from tui.view import words
from tui.widgets.pane import Pane

MOST_LINES = 200  # lines of the journal that are kept
MOST_CHARACTERS = 400  # per line
AWAY = "G follows the newest line"  # while the user has scrolled up


class ActivityPane(Pane):
    """Shows the latest lines."""

    NUMBER: ClassVar[int] = 7
    NAME: ClassVar[str] = "activity"

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._current_lines: list[str] = []

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
        self.query_one("#lines", Static).update(Content("\n").join(Content(line) for line in self._lines))

    def show_current(self, lines: Sequence[str]) -> None:
        """Show current lines below the journal: streamed text, and the last step."""
        current = [words.sanitize_line(line, MOST_CHARACTERS) for line in lines]
        if current == self._current_lines:
            return
        resized, self._current_lines = len(current) != len(self._current_lines), current
        box = self.query_one("#now", Static)
        box.display = bool(current)
        box.update(Content("\n").join(Content.styled(line, "$foreground 60%") for line in current), layout=resized)
