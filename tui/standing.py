"""How the run stands, in full sentences: what `make status` says, and which agent did how well."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui import words
from tui.panes.base import MOVES, Pane


class StandingPane(Pane):
    """The text."""

    NUMBER: ClassVar[int] = 8
    NAME: ClassVar[str] = "standing"
    ABOUT: ClassVar[str] = "How the run stands, in full: its settings, its counts, and which agent did how well."


class StandingScreen(ModalScreen[None]):
    """Any of the usual keys leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *MOVES,
        Binding("escape,q,8,enter,ctrl+c,ctrl+q", "dismiss", "back", priority=True),
    ]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        page = StandingPane()
        page.border_title = "8 standing · escape goes back"
        with page:
            yield Static(Content(words.clean_lines(self._text)))

    def on_mount(self) -> None:
        self.query_one(StandingPane).focus()
