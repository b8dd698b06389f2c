"""A line of input between the panes and the footer, which covers no content."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.events import Key
from textual.message import Message
from textual.widgets import Input, Label


class Prompt(Horizontal):
    """Asks for a line of text. Enter submits it, escape cancels."""

    class Changed(Message):
        """Posted when a prompt opens or closes, since other keys are valid then."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel"),
        Binding("ctrl+c,ctrl+q", "cancel", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self._done: Callable[[str | None], object] | None = None
        self._typed: Callable[[str], object] | None = None
        self._last = ""  # the text that `_typed` was called with
        self.display = False

    def compose(self) -> ComposeResult:
        yield Label(id="question")
        field = Input(id="answer", compact=True, select_on_focus=False)  # the user may type before it has the focus
        field.cursor_blink = False
        yield field

    def ask(
        self,
        question: str,
        done: Callable[[str | None], object],
        text: str = "",
        typed: Callable[[str], object] | None = None,
    ) -> None:
        """Ask a question.

        Args:
            question: The question.
            done: Called with the line, or with None if the user cancels or another question replaces this one.
            text: The initial text.
            typed: Called with the line whenever it changes.
        """
        self._finish(None)
        self._done, self._typed = done, None
        self.query_one("#question", Label).update(question)
        field = self.query_one(Input)
        field.value = self._last = text
        field.select_all()
        self.display = True
        self.post_message(self.Changed())
        field.focus()
        self._typed = typed

    def take_key(self, key: Key) -> None:
        """Handle a key that was pressed while the prompt was open but did not have the focus."""
        field = self.query_one(Input)
        match key.key:
            case "enter":
                self._finish(field.value)
            case "escape" | "ctrl+c" | "ctrl+q":
                self._finish(None)
            case "backspace":
                field.action_delete_left()
            case _ if key.character is not None and key.is_printable:
                field.replace(key.character, *sorted(field.selection))
        if self.display:  # the prompt is still open
            field.focus()

    def _finish(self, answer: str | None) -> None:
        done, self._done, self._typed = self._done, None, None
        if done is not None:
            self.display = False
            self.post_message(self.Changed())
            done(answer)

    def submit(self) -> None:
        """Submit the line, as enter does."""
        self._finish(self.query_one(Input).value)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self._typed is not None and event.value != self._last:
            self._last = event.value
            self._typed(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._finish(event.value)

    def action_cancel(self) -> None:
        self._finish(None)
