"""The list of all runs, from which two are chosen to be compared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from core.reporting.status import RunStatus
from tui.textual_internals import Static, set_border_text
from tui.view import words
from tui.view.runs import run_lines

SAME_S = 3.0  # how long a note is shown
KEYS = "c compare with ◆  j k move  escape back  ? help"


class RunsScreen(ModalScreen[None]):
    """Lists all runs. One is marked: first that of the app. `c` on another run compares the two, `c` on the marked one unmarks it."""

    class Chosen(Message):
        """Posted when two runs are to be compared."""

        def __init__(self, first: str, second: str) -> None:
            super().__init__()
            self.first, self.second = first, second

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "back", priority=True),
        Binding("c", "choose", "compare", priority=True),
        Binding("j", "move(1)", "down"),
        Binding("k", "move(-1)", "up"),
        Binding("ctrl+c,ctrl+q", "app.detach", "detach", priority=True),
        Binding("question_mark", "app.explain", "help", priority=True),
    ]

    def __init__(self, current: str, read: Callable[[], Sequence[RunStatus | str]]) -> None:
        """Prepare the screen.

        Args:
            current: The run that is marked first.
            read: Called in a thread. Returns the status of each run, or a sentence for one that cannot be read.
        """
        super().__init__()
        self._marked: str | None = current
        self._read = read
        self._runs: list[RunStatus] = []
        self._problems: list[str] = []

    def compose(self) -> ComposeResult:
        with Vertical(id="runs", classes="pane"):
            yield Static("reading the runs …", id="runs-head")
            yield OptionList(id="runs-list", markup=False)
            yield Static(id="runs-problems")
        yield Static(KEYS, id="page-keys")

    def on_mount(self) -> None:
        set_border_text(self.query_one("#runs"), "runs", "")
        self.query_one(OptionList).focus()
        self.run_worker(self._load(), exit_on_error=True)

    def on_resize(self, event: events.Resize) -> None:
        self._show()

    async def _load(self) -> None:
        found = await asyncio.to_thread(self._read)
        self._runs = [one for one in found if not isinstance(one, str)]
        self._problems = [one for one in found if isinstance(one, str)]
        self._show()
        others = [index for index, one in enumerate(self._runs) if one.run != self._marked]
        self.query_one(OptionList).highlighted = others[0] if others else 0 if self._runs else None

    def _show(self) -> None:
        """Show the list. The highlighted run stays."""
        options = self.query_one(OptionList)
        width = options.scrollable_content_region.width
        if not self._runs or width < 1:
            return
        head, lines = run_lines(self._runs, width, self._marked)
        at = options.highlighted
        options.clear_options()
        options.add_options([Option(Content(line), id=one.run) for one, line in zip(self._runs, lines, strict=True)])
        options.highlighted = at
        self.query_one("#runs-head", Static).update(Content.styled(head, "bold"))
        notes = [words.sanitize_line(problem, 200) for problem in self._problems]
        if len(self._runs) == 1:
            notes.append("There is no other run to compare with.")
        self.query_one("#runs-problems", Static).update(Content.styled("\n".join(notes), "$warning"))

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.action_choose()

    def action_move(self, step: int) -> None:
        options = self.query_one(OptionList)
        if step > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    def action_choose(self) -> None:
        """Compare the marked run with the highlighted one; mark that if none is marked; unmark it if it is the same."""
        at = self.query_one(OptionList).highlighted
        if at is None or at >= len(self._runs):
            return
        name, marked = self._runs[at].run, self._marked
        if marked is not None and name != marked:
            self.post_message(self.Chosen(marked, name))
            return
        self._marked = None if marked == name else name
        self._show()
        if self._marked is None:
            self.notify("Nothing is marked. c marks a run, and c on another one compares the two.", timeout=SAME_S)
