"""What happens, in words: the journal, the agent's words as they come, the trainer's last lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from tui.view import words
from tui.widgets.pane import Pane

KEPT = 200


class ActivityPane(Pane):
    """The last lines."""

    NUMBER: ClassVar[int] = 7
    NAME: ClassVar[str] = "activity"
    ABOUT: ClassVar[str] = "What the loop did, what the agent says while it thinks, and the trainer's last lines."

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []
        self._pulse: list[str] = []

    def on_mount(self) -> None:
        self.anchor()  # the end stays in sight until one scrolls

    def compose(self) -> ComposeResult:
        yield Static(id="lines")
        yield Static(id="now")

    def add(self, lines: Sequence[str]) -> None:
        """Lines of the journal."""
        self._lines = (self._lines + [words.sanitize_line(line, 400) for line in lines])[-KEPT:]
        self.query_one("#lines", Static).update(Content("\n").join(Content(line) for line in self._lines))

    def pulse(self, lines: Sequence[str]) -> None:
        """What is true just now: streamed words, the last step. Replaces the former ones."""
        fresh = [words.sanitize_line(line, 400) for line in lines]
        if fresh != self._pulse:
            grown, self._pulse = len(fresh) != len(self._pulse), fresh
            now = self.query_one("#now", Static)
            now.display = bool(fresh)
            now.update(Content("\n").join(Content.styled(line, "$foreground 60%") for line in fresh), layout=grown)
