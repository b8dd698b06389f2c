"""A small menu. The user chooses by a key, or with the cursor and Enter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Key
from textual.screen import ModalScreen
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option


class Menu(ModalScreen[str | None]):
    """Asks a question with choices. The result of the screen is the id of a choice, or None if the user cancels."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+c,ctrl+q", "leave", "back", priority=True),
        Binding("j", "move(1)", "down"),
        Binding("k", "move(-1)", "up"),
    ]

    def __init__(self, question: str, choices: Sequence[tuple[str, str, str]]) -> None:
        """`choices` are tuples (key, id, text)."""
        super().__init__()
        self._question = question
        self._choices = choices

    def compose(self) -> ComposeResult:
        with Vertical(id="menu"):
            yield Label(f"{self._question}  (escape leaves it as it is)", markup=False)
            yield OptionList(
                *(Option(f"{key}  {words}" if key else words, id=name) for key, name, words in self._choices),
                markup=False,
            )

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()

    def on_key(self, event: Key) -> None:
        for key, name, _ in self._choices:
            if key and event.character == key:
                event.stop()
                self._choose(name)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self._choose(event.option_id)

    def action_leave(self) -> None:
        self._choose(None)

    def action_move(self, step: int) -> None:
        options = self.query_one(OptionList)
        if step > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    def _choose(self, choice: str | None) -> None:
        """Close the menu, unless an earlier key has already closed it."""
        if self.is_current:
            self.dismiss(choice)
