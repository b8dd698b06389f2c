"""A small menu, where a choice is made by its key or by moving to it."""

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
    """A question with choices. The result is the id of a choice, or None."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,ctrl+c,ctrl+q", "leave", "back", priority=True),
        Binding("j", "move(1)", "down"),
        Binding("k", "move(-1)", "up"),
    ]

    def __init__(self, question: str, choices: Sequence[tuple[str, str, str]]) -> None:
        """`choices` are (key, id, words)."""
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
        """Close the menu, unless another key of the same burst has closed it."""
        if self.is_current:
            self.dismiss(choice)
