"""The base class of actions: access to the run, notes for the user, and commands to the loop."""

from __future__ import annotations

import contextlib
import math
import textwrap
import time
from collections.abc import AsyncIterator, Callable

from core.record.experiment import Experiment
from core.run import commands
from tui.attention import Attention
from tui.bridge import Bridge
from tui.keys import KeyContext
from tui.pane_updates import PaneUpdates
from tui.panes.change import ChangePane
from tui.panes.experiments import ExperimentsPane
from tui.screens.comparison import ComparisonScreen
from tui.screens.detail import DetailScreen
from tui.screens.help import HelpScreen
from tui.screens.main import MainScreen, main_screen
from tui.screens.run_comparison import RunComparisonScreen
from tui.screens.runs import RunsScreen
from tui.screens.summary import SummaryScreen
from tui.selection import Selection
from tui.system.remembered import ViewMemory
from tui.system.stray_text import StrayText
from tui.textual_internals import FrugalApp
from tui.widgets.footer import KeysLine
from tui.widgets.prompt import Prompt

PAGES = HelpScreen | SummaryScreen | ComparisonScreen | RunsScreen | RunComparisonScreen
READ_S = 1.0  # a note is not removed earlier
JUST_S = 10.0  # in which a proposal was answered "just now"
TWICE_S = 3.0  # seconds in which the second press of a key confirms the first


class RunApp(FrugalApp):
    """An app that shows one run. Subclasses add actions.

    Attributes:
        bridge: The connection to the run.
        selection: The experiment that the panes show.
        updates: Tells the panes what to show.
        memory: What is remembered of the view.
        key_context: Decides which keys are valid.
        attention: Tells the loop that the human uses the app.
        stray: Recognises text for a line that did not open.
        unsent: Texts that the loop did not take, by the question that they answer. The question opens with them.
    """

    bridge: Bridge
    selection: Selection
    updates: PaneUpdates
    memory: ViewMemory
    attention: Attention
    stray: StrayText
    unsent: dict[str, str]
    key_context = KeyContext()
    _noted_t = 0.0  # when the last note was shown
    _waited: tuple[int, float] = (0, -math.inf)  # the proposal that waited last, and when it still did
    _first_press: tuple[float, str] = (0.0, "")  # time and action of a key that must be pressed twice

    # -- which experiment -----------------------------------------------------------------------------------------

    @property
    def main(self) -> MainScreen:
        """The screen of all panes, whichever screen is on top."""
        return main_screen(self)

    @property
    def followed(self) -> Experiment | None:
        """The experiment that the panes show."""
        return self.selection.followed

    @property
    def drawn_number(self) -> int | None:
        """The experiment whose change is drawn. After the cursor has moved, it is the previous one for a moment."""
        return self.main.query_one(ChangePane).number

    @property
    def detailed_number(self) -> int | None:
        """The experiment on the detail screen, even if a menu or a page is on top of it."""
        numbers = [screen.number for screen in self.screen_stack if isinstance(screen, DetailScreen)]
        return numbers[-1] if numbers else None

    @property
    def target(self) -> Experiment | None:
        """The experiment that actions apply to: the one on the detail screen, else the followed one."""
        number = self.detailed_number
        return self.followed if number is None else self.bridge.state.experiments.get(number)

    @property
    def waiting_number(self) -> int | None:
        """The proposal that waits for an answer."""
        return self.bridge.waiting.number if self.bridge.waiting else None

    def follow_newest(self) -> None:
        """Let the panes show the waiting proposal, or else the newest experiment."""
        self.query_one(ExperimentsPane).follow()

    # -- notes and questions --------------------------------------------------------------------------------------

    def show_note(self, text: str, wrong: bool = False, seconds: float = 5.0) -> None:
        """Show a note at the lower right."""
        # Wrapped here, because Textual cuts off lines that are slightly too long.
        self._noted_t = time.monotonic()
        width = max(30, self.size.width * 2 // 3)
        text = "\n".join(textwrap.wrap(text, width, break_on_hyphens=False))
        self.notify(text, severity="warning" if wrong else "information", timeout=seconds, markup=False)

    def clear_old_notes(self) -> None:
        """Remove a note that could be read already, before another screen opens below it."""
        if time.monotonic() - self._noted_t > READ_S:
            self.clear_notifications()

    def on_notify(self) -> None:
        """Show one note at a time: a new note replaces the previous one."""
        self.clear_notifications()

    def ask_for_line(self, question: str, done: Callable[[str | None], object], text: str = "") -> None:
        """Ask the user for a line of text on the top screen.

        Args:
            question: The question.
            done: Called with the line, or with None if the user cancels.
            text: The initial text.
        """

        def answered(answer: str | None) -> None:
            self.screen.query("ExperimentsPane, Body").first().focus()
            done(answer)

        self.screen.query_one(Prompt).ask(question, answered, text)

    def on_prompt_changed(self) -> None:
        self.refresh_keys()

    def action_answer(self) -> None:
        """Submit the open prompt, for a click in the footer."""
        self.screen.query_one(Prompt).submit()

    def action_cancel_answer(self) -> None:
        """Close the open prompt, for a click in the footer."""
        self.screen.query_one(Prompt).action_cancel()

    def just_answered(self) -> str:
        """Return what has become of a proposal that waited a moment ago, as a sentence; '' if none did."""
        number, seen_t = self._waited
        experiment = self.bridge.state.experiments.get(number)
        if experiment is None or self.waiting_number is not None or time.monotonic() - seen_t > JUST_S:
            return ""
        if experiment.approved:
            return f"#{number} was approved just now{', by time-out' if experiment.approved == 'time-out' else ''}."
        return f"#{number} was answered just now: {experiment.verdict.words}." if experiment.verdict is not None else ""

    def is_second_press(self, what: str, hint: str) -> bool:
        """Return whether the same action was requested in the last TWICE_S seconds. If not, show a hint.

        Args:
            what: Identifies the action.
            hint: Says what the second press would do.
        """
        pressed_t, last = self._first_press
        if last == what and time.monotonic() - pressed_t < TWICE_S:
            self._first_press = (0.0, "")
            return True
        self._first_press = (time.monotonic(), what)
        self.show_note(hint, seconds=TWICE_S)
        return False

    def refresh_keys(self) -> None:
        """Update which keys are valid, and show them."""
        context = self._current_key_context()
        for line in self.screen.query(KeysLine):
            line.show(context)
        if context != self.key_context:
            self.key_context = context
            self.screen.refresh_bindings()

    def _current_key_context(self) -> KeyContext:
        state, target, waiting = self.bridge.state, self.target, self.bridge.waiting
        if waiting is not None:
            self._waited = waiting.number, time.monotonic()
        is_detail = self.detailed_number is not None
        is_target = target is not None and waiting is not None and target.number == waiting.number
        return KeyContext(
            alive=self.bridge.pid is not None,
            waiting=waiting is not None and (not is_detail or is_target),
            paused=state.paused,
            running=any(launched.number is not None for launched in state.running.values()),
            selected=target is not None,
            judged=target is not None and target.verdict is not None,
            rerunning=target is not None and target.number in state.reruns,
            zoomed=self.main.is_zoomed,
            unattended=state.approval == "auto",
            detail=is_detail,
            small=self.main.is_small,
            has_hints=bool(state.all_hints),
            has_proposed_limits=bool(state.charter and state.charter.proposed),
            tiny=self.main.is_tiny,
            unreadable=self.main.is_unreadable,
            marked=self.selection.marked,
            pane=self.main.pane_number,
            typing=self._has_prompt,
            read_only=self.bridge.read_only,
            browser=self.is_web,
        )

    # -- commands to the loop -------------------------------------------------------------------------------------

    async def _send(self, command: commands.Command, on_success: str) -> None:
        reply = await self.bridge.send(command)
        self.show_reply(reply, on_success if reply.ok else "")

    def show_reply(self, reply: commands.Reply, addition: str = "") -> None:
        """Show the reply of the loop, with a sentence added."""
        text = f"{reply.words.rstrip('.')}. {addition}" if addition else reply.words
        self.show_note(text, wrong=not reply.ok, seconds=10.0 if addition and not reply.ok else 5.0)

    def send_later(self, command: commands.Command, on_success: str = "") -> None:
        """Send a command in the background, so that keys still work, and show the reply of the loop.

        Args:
            command: The command.
            on_success: A sentence to add to the reply if the loop accepted the command.
        """
        self.run_worker(self._send(command, on_success), exit_on_error=False)

    def send_text(self, command: commands.Command, text: str, place: str) -> None:
        """Send a command that has a text of the user. If the loop does not take it, the text is shown and kept in `unsent`.

        Args:
            command: The command.
            text: The text.
            place: Which question it answers, as a key of `unsent`.
        """
        self.run_worker(self._send_text(command, text, place), exit_on_error=False)

    async def _send_text(self, command: commands.Command, text: str, place: str) -> None:
        self.unsent[place] = text  # until it is taken
        reply = await self.bridge.send(command)
        if reply.ok:
            self.unsent.pop(place, None)
        self.show_reply(reply, f"Your text was: {text}" if text and not reply.ok else "")

    # -- the countdown of a waiting proposal ------------------------------------------------------------------------

    @property
    def _asks(self) -> bool:
        """Whether a loop waits for answers of this app."""
        return self.bridge.pid is not None and not self.bridge.read_only and self.bridge.state.approval == "ask"

    @property
    def _has_prompt(self) -> bool:
        return any(prompt.display for prompt in self.screen.query(Prompt))

    @property
    def is_typing(self) -> bool:
        """Whether keys are text, or choose from a menu: a prompt, a menu or the command palette is open."""
        return self._has_prompt or not isinstance(self.screen, MainScreen | DetailScreen | PAGES)

    def note_use(self) -> None:
        """Tell the loop that the human uses the app."""
        if self._asks:
            self.attention.use()

    def update_attention(self) -> None:
        """Hold the countdown while the human types or reads, else let it go on."""
        if not self.screen_stack or self.bridge.pid is None:
            self.attention.reset()
        elif self._asks:
            self.attention.update(typing=self.is_typing, reading=isinstance(self.screen, DetailScreen | PAGES))

    @contextlib.asynccontextmanager
    async def editing(self) -> AsyncIterator[None]:
        """Hold the countdown while an editor has the terminal, also of proposals that come meanwhile."""
        if self._asks:
            await self.bridge.send(self.attention.edit())
        try:
            yield
        finally:
            self.attention.end_edit()
