"""How the run stands, in full sentences: what `make status` says, and which agent did how well."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.view import words
from tui.widgets.pane import MOVES, Pane

LIVE_S = 2.0


class StandingPane(Pane):
    """The text."""

    NUMBER: ClassVar[int] = 8
    NAME: ClassVar[str] = "standing"
    ABOUT: ClassVar[str] = "How the run stands, in full: its settings, its counts, and which agent did how well."


class StandingScreen(ModalScreen[None]):
    """It follows the run. Any of the usual keys leaves it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *MOVES,
        Binding("escape,q,8,enter", "dismiss", "back", priority=True),
        Binding("ctrl+c,ctrl+q", "app.detach", "detach", priority=True),
        Binding("question_mark", "app.explain", "help", priority=True),
    ]

    def __init__(self, text: Callable[[], str]) -> None:
        super().__init__()
        self._text = text
        self._shown = ""

    def compose(self) -> ComposeResult:
        page = StandingPane()
        page.head("standing · escape goes back")
        with page:
            yield Static(id="standing-text")
        yield Static("escape back  ? help  j k scroll", id="page-keys")

    def on_mount(self) -> None:
        self.query_one(StandingPane).focus()
        self._show()
        self.set_interval(LIVE_S, self._show)

    def on_resize(self) -> None:
        self._show()

    def _show(self) -> None:
        width = self.query_one(StandingPane).scrollable_content_region.width
        text = "\n".join(_wrapped(line, width) for line in words.sanitize_text(self._text()).splitlines())
        if text != self._shown:
            self._shown = text
            self.query_one("#standing-text", Static).update(Content(text))


def _wrapped(line: str, width: int) -> str:
    """A line whose further lines begin below its third letter: what belongs to a line is seen."""
    lead = len(line) - len(line.lstrip())
    return " " * lead + words.hanging(line.lstrip(), width, lead + 2) if len(line) > width else line
