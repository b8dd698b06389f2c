"""The status screen: the output of `make status`, which includes the results of each agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from nanochat.contract.registry import Entry
from tui.view import words
from tui.widgets.pane import SCROLL_KEYS, Pane

REFRESH_S = 2.0


class RunStatusPane(Pane):
    """The scrolling text."""

    NUMBER: ClassVar[int] = 8
    NAME: ClassVar[str] = "run status"


RUN_STATUS = Entry(
    "status", "The status of the run in full: settings, counts, and the results of each agent.", RunStatusPane
)


class RunStatusScreen(ModalScreen[None]):
    """Shows the status of the run, updated every REFRESH_S seconds."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *SCROLL_KEYS,
        Binding("escape,q,8,enter", "dismiss", "back", priority=True),
        Binding("ctrl+c,ctrl+q", "app.detach", "detach", priority=True),
        Binding("question_mark", "app.explain", "help", priority=True),
    ]

    def __init__(self, status_text: Callable[[], str]) -> None:
        """`status_text` returns the current text."""
        super().__init__()
        self._status_text = status_text
        self._shown = ""

    def compose(self) -> ComposeResult:
        page = RunStatusPane()
        page.set_title("run status · escape goes back")
        with page:
            yield Static(id="runstatus-text")
        yield Static("escape back  ? help  j k scroll", id="page-keys")

    def on_mount(self) -> None:
        self.query_one(RunStatusPane).focus()
        self._refresh_text()
        self.set_interval(REFRESH_S, self._refresh_text)

    def on_resize(self) -> None:
        self._refresh_text()

    def _refresh_text(self) -> None:
        width = self.query_one(RunStatusPane).scrollable_content_region.width
        lines = words.sanitize_text(self._status_text()).splitlines()
        text = "\n".join(_wrap_line(line, width) for line in lines)
        if text != self._shown:
            self._shown = text
            self.query_one("#runstatus-text", Static).update(Content(text))


def _wrap_line(line: str, width: int) -> str:
    """Wrap a line. Its continuation is indented by two more columns than its beginning."""
    if len(line) <= width:
        return line
    indent = len(line) - len(line.lstrip())
    return " " * indent + words.wrap_indented(line.lstrip(), width, indent + 2)
