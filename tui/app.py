"""The app: composes the panes, passes on changes of the run, and handles keys."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path, PurePath
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult, SystemCommand
from textual.binding import BindingType
from textual.command import Provider
from textual.containers import Container
from textual.content import Content
from textual.driver import Driver
from textual.screen import Screen
from textual.timer import Timer
from textual.widgets import Input
from textual.worker import WorkerFailed

from core.errors import told
from core.record import events as ev
from core.reporting import phrases
from core.run import commands
from nanochat.contract.shell import make
from tui import keys
from tui.actions.base import PAGES
from tui.actions.decisions import DecisionActions
from tui.actions.runs import RunsActions
from tui.attention import Attention
from tui.bridge import Bridge, News
from tui.pane_updates import PaneUpdates
from tui.panes import registry
from tui.panes.change import ChangePane
from tui.panes.experiments import ExperimentsPane
from tui.panes.status import StatusLine
from tui.screens.comparison import ComparisonScreen
from tui.screens.detail import DetailScreen
from tui.screens.main import MainScreen
from tui.screens.menu import Menu
from tui.selection import Selection
from tui.system.driver import PatientDriver
from tui.system.palette import CommandsInOrder
from tui.system.remembered import ViewMemory
from tui.system.stray_text import StrayText
from tui.textual_internals import Static, unhandled_error
from tui.view.tiny import first_lines
from tui.widgets.footer import KeysLine
from tui.widgets.prompt import Prompt

ATTENTION_S = 0.3  # between two looks at whether the user types or reads
REST_S = 0.05  # the other panes are updated when the cursor has not moved for so long


class AutoResearch(RunsActions, DecisionActions):
    """A view of one run. Everything it shows comes from the bridge.

    Args:
        folder: The folder of the run's logs.
        program: The path of program.md.
        starting: Called before the app takes over the terminal.
        opens_summary: Whether the summary opens by itself when no loop runs: at the start, and when the run ends.
        memory: What is remembered of the view; by default nothing.
        warning: A warning to show at the start, or ''.
        read_only: Whether everything that would change the run is refused.
        driver: What the app draws on: the terminal, or a browser.
    """

    TITLE = "AutoResearch"
    ENABLE_COMMAND_PALETTE = True
    CSS_PATH: ClassVar[list[str | PurePath]] = [
        "app.tcss",
        "panes/status.tcss",
        *(f"panes/{entry.name}.tcss" for entry in registry.ENTRIES),
    ]
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings()
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {CommandsInOrder}

    def __init__(
        self,
        folder: Path,
        program: Path,
        starting: Callable[[], None] = lambda: None,
        *,
        opens_summary: bool = True,
        memory: ViewMemory | None = None,
        warning: str = "",
        read_only: bool = False,
        driver: type[Driver] = PatientDriver,
    ) -> None:
        super().__init__(driver_class=driver)
        self._opens_summary = opens_summary
        self._starting = starting
        self._warning, self._said = warning, ""  # shown at the start
        self.memory = memory or ViewMemory()
        self.bridge = Bridge(folder, program, self._show_news, read_only)
        self.key_context = replace(self.key_context, read_only=read_only)
        self.selection = Selection(self.bridge)
        self.attention = Attention(self.bridge.who, self._send_quietly)
        self.stray = StrayText()
        self.unsent = {}
        self.updates = PaneUpdates(self, self.bridge, self.selection)
        self._rest_timer: Timer | None = None

    # -- start and end --------------------------------------------------------------------------------------------

    def get_default_screen(self) -> Screen[None]:
        return MainScreen([entry.factory for entry in registry.ENTRIES])

    def compose(self) -> ComposeResult:
        """Compose the main screen. The panes are hidden until the journal is read, to avoid drawing empty ones."""
        yield StatusLine(f" {self.bridge.folder.name}  waiting for its journal")
        yield Static(id="tabs")
        yield Static(Content("\n").join(first_lines(self.bridge.folder.name)), id="tiny")
        with Container(id="panes"):
            for pane in [entry.factory() for entry in registry.ENTRIES]:
                pane.display = False
                yield pane
        yield Prompt()
        yield KeysLine()

    def on_load(self) -> None:
        self._starting()

    def on_mount(self) -> None:
        self.restore_theme()
        self._warning = " ".join(filter(None, (self._warning, self.memory.problem)))
        self._said = self.restore_view()
        self.run_worker(self.bridge.follow(), exit_on_error=True)
        self.run_worker(self.bridge.stay_attached(), exit_on_error=False)
        self.set_interval(ATTENTION_S, self.update_attention)

    def action_detach(self) -> None:
        """Close the app with a message about the run."""
        name, state = self.bridge.folder.name, self.bridge.state
        if self.bridge.gone:
            self.exit(f"App closed. {self.bridge.gone}")
            return
        if self.bridge.pid is None or state.stopped is not None:  # a stopped loop may still be ending
            apply = f" {make('apply', name)} commits its best train.py to your checkout." if state.kept else ""
            self.exit(f"App closed. Run {name} has no loop; {phrases.resume_command(name)} resumes it.{apply}")
            return
        is_waiting = self.bridge.waiting is not None
        approval = " Unless another app is open, the waiting proposal is approved now." if is_waiting else ""
        commands = f"`make attach ARGS={name}` opens the app again. `make stop ARGS={name}` stops the loop."
        self.exit(f"App closed. The loop of {name} keeps running. {commands}{approval}")

    async def action_quit(self) -> None:
        self.action_detach()

    def action_help_quit(self) -> None:
        self.action_detach()

    def _fatal_error(self) -> None:
        """End the app after an exception. Overrides a method of Textual that prints the values of all variables."""
        error = unhandled_error(self)
        if isinstance(error, WorkerFailed):
            error = error.error
        if error is not None:
            self.panic(Text(told(error, None if self.bridge.read_only else self.bridge.folder)))

    # -- events of the run and of the screen ----------------------------------------------------------------------

    def _show_news(self, news: News) -> None:
        if not (self.is_running and self.screen_stack and self.main.query(ExperimentsPane)):
            return  # the app is closing
        if not self.updates.is_due(news):
            return
        self.updates.show(news)
        self.refresh_keys()
        if news.first and (note := " ".join(filter(None, (self._warning, self._said)))):
            self.show_note(note, wrong=bool(self._warning), seconds=10.0)
        if news.events and isinstance(self.screen, DetailScreen | ComparisonScreen):
            self.screen.show()
        if self._opens_summary and self._is_over(news):
            if news.first:
                self.open_summary()  # at once: the panes behind it need not be drawn
            else:
                self.call_after_refresh(self.open_summary)

    def _is_over(self, news: News) -> bool:
        """Return whether the app has found no loop at its start, or the run has just ended and the user does nothing else."""
        if news.first:
            return self.bridge.pid is None and self.bridge.state.baseline is not None
        is_idle = self.screen is self.main and not isinstance(self.focused, Input)
        return is_idle and any(isinstance(event, ev.Stopped) for event in news.events)

    def on_resize(self, event: events.Resize) -> None:
        self.main.fit_terminal(*event.size)
        self.updates.show_status()
        self.main.arrange_panes()
        self.refresh_keys()

    def on_main_screen_pane_changed(self) -> None:
        self.refresh_keys()

    def on_experiments_pane_selected(self, event: ExperimentsPane.Selected) -> None:
        """Show the experiment in the other panes when the cursor has stopped. While it moves, only the cursor is drawn."""
        self.selection.chosen = event.number
        self.refresh_keys()
        if self._rest_timer is not None:
            self._rest_timer.stop()
        self._rest_timer = self.main.set_timer(REST_S, self.updates.show_followed)

    def on_experiments_pane_opened(self, event: ExperimentsPane.Opened) -> None:
        table, followed = self.query_one(ExperimentsPane), self.followed
        if table.following and followed is not None and followed.number in table.numbers:
            self.open_details(followed.number)
        else:
            self.open_details(event.number)

    def on_experiments_pane_sideways(self, event: ExperimentsPane.Sideways) -> None:
        self.main.query_one(ChangePane).action_move_diffs(event.direction)

    def on_detail_screen_walked(self) -> None:
        self.refresh_keys()

    # -- keys and the command palette -----------------------------------------------------------------------------

    async def on_event(self, event: events.Event) -> None:
        """Note each key and click before the screen handles it: any of them shows that the user is there."""
        if isinstance(
            event, events.Key | events.MouseDown | events.MouseScrollDown | events.MouseScrollUp | events.Paste
        ):
            self.note_use()
        if isinstance(event, events.Key) and not event.is_forwarded and self.stray.has(event):
            return
        await super().on_event(event)

    def _send_quietly(self, command: commands.Command) -> None:
        self.run_worker(self.bridge.send(command), exit_on_error=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Return whether an action is valid now. Textual ignores keys of invalid actions."""
        return keys.is_valid(action, self.key_context)

    def on_key(self, event: events.Key) -> None:
        """Pass keys to an open prompt without the focus, and explain why a key does nothing."""
        for prompt in self.screen.query(Prompt):
            if prompt.display and not isinstance(self.focused, Input):
                event.stop()
                event.prevent_default()
                prompt.take_key(event)
                return
        if self.focused is None or isinstance(self.focused, Input) or isinstance(self.screen, Menu):
            return
        if not self.bridge.loaded or event.key in self.screen.active_bindings:  # the key is handled after this method
            return
        key = keys.key_of(event.key, event.character)
        if key is None:
            self.show_note(keys.unknown(event.character if event.is_printable and event.character else event.key))
            return
        resume, context = phrases.resume_command(self.bridge.folder.name), self.key_context
        if reason := keys.reason(key, context, resume, page=isinstance(self.screen, PAGES)):
            if reason == keys.NOTHING_WAITS:
                reason = self.just_answered() or reason
            if key.action in keys.ASK_LINE and not context.read_only:
                reason = f"{reason} {self.stray.expect(event.character or '')}"
            self.show_note(reason, wrong=keys.is_forbidden(key, context))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Return the entries of the command palette: the valid keys by name, a screenshot, and the themes."""
        for key in keys.KEYS:
            if key.action != "command_palette" and keys.is_valid(key.action, self.key_context):
                yield SystemCommand(
                    f"{keys.display(key)}  {keys.label(key, self.key_context)}",
                    key.about.replace("[", "\\["),
                    lambda action=f"app.{key.action}": self._run_by_name(action),
                )
        if not self.bridge.read_only:
            yield SystemCommand(
                "Screenshot", "Save what is shown as a picture in the run's folder.", self._save_picture
            )
        for command in super().get_system_commands(screen):
            if command.title == "Theme":
                yield command

    async def _run_by_name(self, action: str) -> None:
        await self.run_action(action)

    def _save_picture(self) -> None:
        try:
            path = self.save_screenshot(f"screen-{time.strftime('%H%M%S')}.svg", str(self.bridge.folder))
        except OSError as error:
            self.show_note(f"The picture cannot be saved ({error.strerror}).", wrong=True)
        else:
            self.show_note(f"The picture is in {path}.")
