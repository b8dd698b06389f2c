"""The app itself: it lays out the panes, tells them what to show, and turns keys into commands to the loop."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import App, ComposeResult, SystemCommand
from textual.binding import BindingType
from textual.containers import Container
from textual.reactive import Reactive
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Static
from textual.worker import WorkerFailed

from core.errors import told
from core.judging import schedule
from core.judging.noise import Noise
from core.record import events as ev
from core.record.state import Experiment, experiment_id
from core.reporting import report
from tui import keys
from tui.actions.decisions import Human
from tui.bridge import Bridge, News
from tui.panes.activity import ActivityPane
from tui.panes.change import ChangePane
from tui.panes.experiments import ExperimentsPane
from tui.panes.loss import LossPane
from tui.panes.machine import MachinePane, brief
from tui.panes.night import NightPane
from tui.panes.program import ProgramPane
from tui.panes.status import StatusLine
from tui.screens.detail import DetailScreen
from tui.screens.help import HelpScreen
from tui.screens.run_status import StandingPane, StandingScreen
from tui.system.driver import PatientDriver
from tui.training_curves import Courses
from tui.view import status as view
from tui.view.words import sanitize_line, verdict
from tui.widgets.footer import KeysLine
from tui.widgets.pane import Pane
from tui.widgets.prompt import Prompt

FULL = (120, 36)  # columns and rows from which all panes are shown at once
LEAST = (72, 20)
PLOT_S = 2.0  # a curve is drawn at most so often
AT_ONCE = 120  # rows of the table in the first picture
REST_S = 0.05  # the other panes follow when the cursor has rested for so long
LIVE_S = 1.0  # and so are progress and time left
PANES: tuple[type[Pane] | type[ExperimentsPane], ...] = (
    ProgramPane, ChangePane, LossPane, MachinePane, ExperimentsPane, NightPane, ActivityPane,
)  # fmt: skip


class Main(Screen[None]):
    """The screen of all panes. Textual's own draws everything anew when the focus moves; the two panes concerned do that themselves."""

    AUTO_FOCUS: ClassVar[str | None] = ""  # the panes are focused when there is something in them
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)


class AutoResearch(Human, App[str]):
    """A view of one run. It holds no truth: everything shown comes from the bridge."""

    TITLE = "AutoResearch"
    ENABLE_COMMAND_PALETTE = True
    CSS_PATH: ClassVar[list[str | PurePath]] = ["app.tcss", *(f"panes/{name}.tcss" for name in (
        "status", "program", "change", "loss", "machine", "experiments", "night", "activity"))]  # fmt: skip
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings()

    def __init__(self, folder: Path, program: Path, starting: Callable[[], None] = lambda: None) -> None:
        """`starting` is called when the app is about to take the terminal."""
        super().__init__(driver_class=PatientDriver)
        self._starting = starting
        self.bridge = Bridge(folder, program, self._news)
        self.now = keys.Now()
        self._chosen: int | None = None  # the experiment that the cursor is on; None: the newest
        self._courses = Courses(self.bridge)
        self._plotted = self._shown = 0.0
        self._noise: Noise | None = None
        self._rung: set[int] = set()
        self._loss_of = ""  # whose curve is drawn
        self._asks = False  # whether a proposal waited when the panes were last told
        self._small = self._zoomed = False
        self._current: Widget | None = None
        self._rest: Timer | None = None

    # -- layout ---------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield StatusLine(f" {self.bridge.folder.name}  waiting for its journal")
        yield Static(id="tabs")
        with Container(id="panes"):
            for pane in [kind() for kind in PANES]:
                pane.display = False  # until the journal is read: empty ones would be drawn for nothing
                yield pane
        yield Static(id="tiny")
        yield Prompt()
        yield KeysLine()

    def get_default_screen(self) -> Screen[None]:
        return Main(id="_default")

    def on_load(self) -> None:
        self._starting()

    def on_mount(self) -> None:
        self.run_worker(self.bridge.follow(), exit_on_error=True)
        self.run_worker(self.bridge.stay_attached(), exit_on_error=False)

    def on_resize(self, event: events.Resize) -> None:
        width, height = event.size
        self._small = width < FULL[0] or height < FULL[1]
        main = self.screen_stack[0]
        main.set_class(self._small, "-small")
        main.set_class(width < LEAST[0] or height < LEAST[1], "-tiny")
        main.query_one("#tiny", Static).update(
            f"The app needs {LEAST[0]} columns and {LEAST[1]} rows;\nthis terminal has {width} by {height}. Enlarge it.\n"
            f"The loop does not mind; q closes the app."
        )
        self._show_status()
        self._show_current()
        self._look_at_keys()

    def action_pane(self, number: int) -> None:
        """Focus a pane by its number; on a small screen, show it."""
        if self.now.tiny:
            return
        for pane in self.screen.query(".pane"):
            if getattr(pane, "NUMBER", 0) == number:
                pane.focus()
        if number == StandingPane.NUMBER and self._noise is not None:
            self._read(StandingScreen(self._standing))

    def _standing(self) -> str:
        """What `make status` says, as it is now."""
        bridge = self.bridge
        assert self._noise is not None
        warnings = [bridge.trouble] if bridge.trouble else []
        return report.status(report.facts(bridge.state, self._noise, bridge.pid, bridge.live, warnings))

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The focused pane is the one that a small or zoomed screen shows."""
        if len(self.screen_stack) == 1 and event.widget.has_class("pane"):
            self._current = event.widget
            self._show_current()

    def _show_current(self) -> None:
        """One pane alone, or all. Set on the panes themselves: classes would have the styles of all they hold computed afresh."""
        alone = self._small or self._zoomed
        main = self.screen_stack[0]
        main.query_one("#panes").styles.layout = "vertical" if alone else "grid"
        for pane in main.query(".pane"):
            pane.display = self.bridge.loaded and (not alone or pane is self._current)
        self._show_tabs()

    def action_zoom(self) -> None:
        self._zoomed = not self._zoomed
        self._show_current()
        self._look_at_keys()

    async def action_back(self) -> None:
        if self._zoomed:
            self.action_zoom()
        else:
            self.query_one(ExperimentsPane).follow()

    def _show_tabs(self) -> None:
        if not self._small:
            return
        parts = []
        for pane in PANES:
            name = f"{pane.NUMBER} {pane.NAME.removesuffix('.md').removeprefix('the ')}"
            here = self._current is not None and isinstance(self._current, pane)
            parts.append(f"[reverse] {name} [/reverse]" if here else f" {name} ")
        self.query_one("#tabs", Static).update("".join(parts))

    # -- what is shown --------------------------------------------------------------------------------------------

    @property
    def followed(self) -> Experiment | None:
        """The experiment that the panes show: the selected one, else the waiting, else the newest running, else the newest."""
        state = self.bridge.state
        waiting = self.bridge.live.waiting if self.bridge.pid else None
        running = [launched.number for launched in state.running.values() if launched.number is not None]
        for number in (
            self._chosen,
            waiting.number if waiting else None,
            *reversed(running),
            max(state.experiments, default=None),
        ):
            if number is not None and number in state.experiments:
                return state.experiments[number]
        return None

    def _news(self, news: News) -> None:
        """The bridge saw something new."""
        if not self.screen_stack or not self.screen_stack[0].query(ExperimentsPane):
            return  # the app is closing
        asked = self.bridge.live.waiting is not None
        if news == News(live=True) and asked == self._asks and time.monotonic() - self._shown < LIVE_S:
            return
        self._shown, self._asks = time.monotonic(), asked
        state = self.bridge.state
        main = self.screen_stack[0]
        numbers: Iterable[int]
        if news.first:  # of a long night the newest at once, and the rest when they are on the screen
            self._current = main.query_one(ExperimentsPane)
            self._show_current()
            if not isinstance(main.focused, Input):  # nobody loses what he is typing
                main.set_focus(self._current)
            numbers = list(reversed(state.experiments))[:AT_ONCE]
            lines = self.bridge.events[-40:]
            self.call_after_refresh(self._settle)
        else:
            told = {n for event in news.events if (n := getattr(event, "number", None)) in state.experiments}
            again = {event.commit for event in news.events if isinstance(event, ev.Measured)}
            told |= {n for n in state.kept if state.experiments[n].commit in again}  # their mean has moved
            numbers = sorted(told | set(state.open if news.alive else ()))  # nobody works on these any more, or again
            lines = list(news.events)
        alive = self.bridge.pid is not None
        main.query_one(ExperimentsPane).show(view.row(state, state.experiments[number], alive) for number in numbers)
        words = [line for event in lines if (line := report.line(event, state))]
        if words:
            main.query_one(ActivityPane).add(words)
        if (news.first or news.events) and state.config is not None:
            self._noise = schedule.noise(state)
        if news.first or any(isinstance(event, ev.Judged | ev.Measured) for event in news.events):
            main.query_one(NightPane).show(view.night(state, self._noise))
        if news.program:
            main.query_one(ProgramPane).show(self.bridge.program_text)
        if (
            news.program
            or news.first
            or any(isinstance(event, ev.Charter | ev.Proposed | ev.Judged | ev.Measured) for event in news.events)
        ):
            self._show_program()
        if news.machine:
            main.query_one(MachinePane).show(self.bridge.machine)
        self._show_change()
        self._show_loss(force=bool(news.events) or news.first)
        self._show_status()
        self._look_at_keys()
        if news.events and len(self.screen_stack) > 1 and isinstance(self.screen, DetailScreen):
            self.screen.show()

    def _settle(self) -> None:
        """After the first picture: the rest of the table, and the garbage collector, to which all that is there is old."""
        state = self.bridge.state
        older, alive = list(reversed(state.experiments))[AT_ONCE:], self.bridge.pid is not None
        rows = (view.row(state, state.experiments[number], alive) for number in older)
        self.screen_stack[0].query_one(ExperimentsPane).show_older(rows)
        gc.freeze()
        gc.enable()

    def _show_status(self) -> None:
        bridge = self.bridge
        if not bridge.loaded:
            return
        waiting = bridge.live.waiting if bridge.pid else None
        found = view.status(bridge.state, bridge.live, bridge.pid is not None, time.time(), self._noise, bridge.trouble)
        extra = ""
        if self._small:
            extra = f"{self._courses.spark(self.followed, self._chosen is not None)}  {brief(bridge.machine)}"
        self.screen_stack[0].query_one(StatusLine).show(found, waiting, self._small, extra)
        if waiting is not None and waiting.number not in self._rung:
            self._rung.add(waiting.number)
            self.bell()

    def _show_change(self) -> None:
        pane, found = self.screen_stack[0].query_one(ChangePane), self.followed
        if found is None:
            pane.show(None, "", "")
            pane.tell(None, "", None)
            return
        waiting = self.bridge.live.waiting if self.bridge.pid else None
        pane.show(found.number, found.hypothesis, self.diff(found), view.outdated(self.bridge.state, found))
        pane.tell(found.number, verdict(found, self.bridge.pid is not None), waiting)

    def diff(self, experiment: Experiment) -> str:
        """The change as a unified diff, '' where its file is gone."""
        try:
            return self.diff_path(experiment).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def diff_path(self, experiment: Experiment) -> Path:
        return self.bridge.folder / experiment_id(experiment.number) / "change.diff"

    def _show_loss(self, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self._plotted < PLOT_S:
            return
        shown = self._courses.of(self.followed, self._chosen is not None)
        if not (force or shown.fresh or shown.name != self._loss_of):
            return
        self._plotted, self._loss_of = now, shown.name
        main = self.screen_stack[0]
        main.query_one(LossPane).show(shown.name, shown.curve, shown.best, "best", shown.slot)
        main.query_one(ActivityPane).pulse(self._streamed() + self._courses.words(shown.slot))

    def _streamed(self) -> list[str]:
        """The agent's latest words, where it has said something just now."""
        return [sanitize_line(line, 300) for line in self.bridge.live.stream.splitlines()[-6:] if line.strip()]

    def _show_program(self) -> None:
        state = self.bridge.state
        charter = state.charter
        first = next((n for n, e in state.experiments.items() if charter and e.charter == charter.sha), None)
        read = bool(charter and charter.sha and self.bridge.program_sha() not in ("", charter.sha))
        pane = self.screen_stack[0].query_one(ProgramPane)
        problem = charter.problem if charter else ""
        warnings = [words for words in (report.over(state), *(charter.warnings if charter else ())) if words]
        pane.tell(first, read, charter.understood if charter else (), warnings, problem)
        pane.propose(charter.proposed if charter else ())

    # -- keys -----------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys that make no sense now are neither shown nor obeyed."""
        del parameters
        return keys.valid(action, self.now)

    def on_key(self, event: events.Key) -> None:
        """A key while a line is asked for belongs to that line; one for the loop, where there is none, is answered too."""
        for prompt in self.screen.query(Prompt):
            if prompt.display and not isinstance(
                self.focused, Input
            ):  # the focus is on its way, or was moved elsewhere
                event.stop()
                event.prevent_default()
                prompt.take(event)
                return
        dead = self.bridge.loaded and self.bridge.pid is None and not self.now.tiny
        if self.focused is None or isinstance(self.focused, Input):
            return
        if dead and event.character in keys.LOOP:
            again = report.going_on(self.bridge.folder.name)
            self.tell(
                f"No loop is running, so there is nothing to tell it. q closes the app; {again} continues the run."
            )
        elif self.bridge.pid is not None and (words := keys.pointless(event.character or "", self.now)):
            self.tell(words)

    def _look_at_keys(self) -> None:
        state = self.bridge.state
        found = self.target
        waiting, page = self.bridge.live.waiting, self.detailed is not None
        now = keys.Now(
            alive=self.bridge.pid is not None,
            waiting=waiting is not None and (not page or (found is not None and found.number == waiting.number)),
            paused=state.paused,
            running=any(launched.number is not None for launched in state.running.values()),
            selected=found is not None,
            judged=found is not None and found.verdict is not None,
            rerunning=found is not None and found.number in state.reruns,
            zoomed=self._zoomed,
            auto=state.gate == "auto",
            told=bool(state.said),
            proposed=bool(state.charter and state.charter.proposed),
            detail=page,
            small=self._small,
            tiny=self.screen_stack[0].has_class("-tiny"),
        )
        for line in self.screen.query(KeysLine):
            line.show(now)
        if now != self.now:
            self.now = now
            self.screen.refresh_bindings()

    @property
    def seen(self) -> int | None:
        """The experiment whose change is drawn: right after a movement that is still the one before."""
        return self.screen_stack[0].query_one(ChangePane).number

    def show_waiting(self) -> None:
        """Back to the proposal that waits."""
        self.query_one(ExperimentsPane).follow()

    def on_experiments_pane_selected(self, event: ExperimentsPane.Selected) -> None:
        self._chosen = event.number
        self._look_at_keys()
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.screen_stack[0].set_timer(
            REST_S, self._show_chosen
        )  # while it moves, only the cursor is drawn

    def _show_chosen(self) -> None:
        self._show_change()
        self._show_loss(force=True)

    def on_experiments_pane_opened(self, event: ExperimentsPane.Opened) -> None:
        table, found = self.query_one(ExperimentsPane), self.followed
        follows = table.following and found is not None and found.number in table.numbers
        self._open(found.number if follows and found is not None else event.number)

    def action_details(self) -> None:
        if self.followed is not None:
            self._open(self.followed.number)

    def _open(self, number: int) -> None:
        if self.now.tiny:
            return
        table = self.query_one(ExperimentsPane)
        screen = DetailScreen(self.bridge, table.numbers, number)

        def back(last: int | None) -> None:
            if last is not None:
                table.select(last)
            self.call_after_refresh(self._look_at_keys)

        self.push_screen(screen, back)
        self.call_after_refresh(self._look_at_keys)

    def on_detail_screen_walked(self) -> None:
        self._look_at_keys()

    def action_explain(self) -> None:
        if not isinstance(self.screen, HelpScreen):
            self._read(HelpScreen([(pane.NUMBER, pane.NAME, pane.ABOUT) for pane in (*PANES, StandingPane)]))

    def _read(self, page: Screen[None]) -> None:
        """Show a page of text. The clock stands still meanwhile: nobody loses a decision by reading."""
        below = isinstance(self.screen, StandingScreen)  # it holds the clock already
        number = self._asked() if not below else None

        def read(_: None) -> None:
            self.clock(number, held=False)
            self._show_status()  # the terminal may have another size by now
            self.call_after_refresh(self._look_at_keys)

        self.clock(number, held=True)
        self.push_screen(page, read)

    def action_logarithmic(self) -> None:
        pane = self.query_one(LossPane)
        pane.logarithmic = not pane.logarithmic
        self._show_loss(force=True)

    def action_sort(self) -> None:
        self.query_one(ExperimentsPane).next_sort()

    def action_filter(self) -> None:
        self.query_one(ExperimentsPane).next_filter()

    def action_search(self) -> None:
        table = self.query_one(ExperimentsPane)

        def done(text: str | None) -> None:
            table.focus()
            if text is not None:
                table.search(text)

        self.query_one(Prompt).ask("search", done)

    def action_detach(self) -> None:
        name = self.bridge.folder.name
        if (
            self.bridge.pid is None or self.bridge.state.stopped is not None
        ):  # a loop that has stopped takes a moment to end
            home = (
                f" `.venv/bin/python -m core.cli apply {name}` takes its best home." if self.bridge.state.kept else ""
            )
            self.exit(f"Closed. Run {name} has no loop; {report.going_on(name)} continues it.{home}")
        else:
            asks = self.bridge.live.waiting is not None
            waits = " When nobody watches, what waits for an answer is approved." if asks else ""
            this = f"ARGS={name}"
            self.exit(
                f"Detached; the loop of {name} goes on. `make attach {this}` comes back, `make stop {this}` ends it.{waits}"
            )

    async def action_quit(self) -> None:
        self.action_detach()

    def action_help_quit(self) -> None:
        self.action_detach()

    def _fatal_error(self) -> None:
        """Called by Textual for an exception that nothing handles; its own prints a page with the values of all variables."""
        error: BaseException | None = self._exception
        if isinstance(error, WorkerFailed):
            error = error.error
        if error is not None:
            self.panic(Text(told(error, self.bridge.folder)))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """The palette: every key by name, then Textual's own for themes and the like."""
        for key in keys.KEYS:
            if key.action != "command_palette" and keys.valid(key.action, self.now):
                action = f"app.{key.action}"
                yield SystemCommand(
                    f"{keys.display(key)}  {keys.label(key, self.now)}",
                    key.about.replace("[", "\\["),
                    lambda action=action: self._by_name(action),
                )
        yield SystemCommand("Screenshot", "Save what is shown as a picture in the run's folder.", self._picture)
        for command in super().get_system_commands(screen):
            if command.title == "Theme":
                yield command

    def _picture(self) -> None:
        try:
            path = self.save_screenshot(f"screen-{time.strftime('%H%M%S')}.svg", str(self.bridge.folder))
        except OSError as error:
            self.tell(f"The picture cannot be saved ({error.strerror}).", wrong=True)
        else:
            self.tell(f"The picture is in {path}.")

    async def _by_name(self, action: str) -> None:
        await self.run_action(action)
