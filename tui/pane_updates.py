"""Update the panes when the run has changed."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable

from textual.app import App
from textual.widgets import Input

from core.judging import schedule
from core.judging.gain import Scale, affected_numbers
from core.judging.noise import Noise
from core.record import events as ev
from core.reporting import phrases
from tui import run_files
from tui.bridge import Bridge, News
from tui.panes.activity import ActivityPane
from tui.panes.change import ChangePane
from tui.panes.experiments import ExperimentsPane
from tui.panes.loss import LossPane
from tui.panes.machine import MachinePane
from tui.panes.night import NightPane
from tui.panes.program import ProgramPane
from tui.panes.status import StatusLine
from tui.screens.main import MainScreen, main_screen
from tui.selection import Selection
from tui.training_curves import TrainingCurves
from tui.view import diffs, words
from tui.view.experiments import Row, outdated_warning, table_row
from tui.view.machine import machine_summary
from tui.view.night import night_picture
from tui.view.status import Status, run_status
from tui.view.tiny import ProposalText, tiny_lines
from tui.widgets.diff_text import palette

CURRENT_S = 2.0  # least time between two updates of what the agent and the trainer say
LIVE_S = 0.7  # least time between two updates of progress, loss and time left
FIRST_ROWS = 120  # rows of the table in the first paint
TINY_MARGIN = 2  # columns beside the text in a terminal that is too small for the panes
STREAM_LINES = 6  # lines of the agent's streamed text that are shown


class PaneUpdates:
    """Tells the panes of the main screen what to show."""

    def __init__(self, app: App[str], bridge: Bridge, selection: Selection) -> None:
        self._app = app
        self._bridge = bridge
        self._selection = selection
        self._curves = TrainingCurves(bridge, selection)
        self.noise: Noise | None = None  # of one score; None before the journal is read
        self._shown_t = self._current_t = 0.0
        self._was_waiting = False  # a proposal waited at the last update
        self._rung_for: set[int] = set()  # proposals that the bell was rung for

    @property
    def _main(self) -> MainScreen:
        return main_screen(self._app)

    def is_due(self, news: News) -> bool:
        """Return whether to show news now. Changes of only progress and time left are shown once in LIVE_S seconds."""
        is_waiting = self._bridge.waiting is not None
        is_urgent = news != News(live=True) or is_waiting != self._was_waiting
        return is_urgent or time.monotonic() - self._shown_t >= LIVE_S

    def show(self, news: News) -> None:
        """Update the panes that news concern."""
        self._shown_t, self._was_waiting = time.monotonic(), self._bridge.waiting is not None
        state, main = self._bridge.state, self._main
        if news.first:
            self._show_panes(program=news.program)
        table = main.query_one(ExperimentsPane)
        table.show(self._rows(self._changed_numbers(news)))
        table.follow_line(self._selection.leading)
        main.fit_table(table.row_count)
        if news.lines:
            main.query_one(ActivityPane).add(news.lines)
        if (news.first or news.events) and state.config is not None:
            self.noise = schedule.noise(state)
        if news.first or _has_event(news, ev.Judged | ev.Measured):
            main.query_one(NightPane).show(night_picture(state, self.noise))
        if news.program and not news.first:  # the first time, `_complete` shows it
            main.query_one(ProgramPane).show(self._bridge.program_text)
        if news.program or news.first or _has_event(news, ev.Charter | ev.Proposed | ev.Judged | ev.Measured):
            self._show_reading_of_program()
        if news.machine:
            main.query_one(MachinePane).show(self._bridge.machine, self._bridge.live.slots if self._bridge.pid else ())
        self._show_change()
        self.show_loss()
        if news.first or news.events or self._shown_t - self._current_t >= CURRENT_S:
            self._show_current()
        self.show_status()

    def show_followed(self) -> None:
        """Update the panes that show a single experiment."""
        self._show_change()
        self.show_loss()
        self._show_current()

    def show_status(self) -> None:
        """Update the status line, and ring the bell when a proposal begins to wait."""
        bridge, main = self._bridge, self._main
        if not bridge.loaded:
            return
        status = run_status(bridge.state, bridge.live, bridge.pid is not None, time.time(), self.noise, bridge.trouble)
        if main.is_tiny:
            self._show_tiny(status)
        extra = (self._curves.loss_summary(), machine_summary(bridge.machine)) if main.is_narrow else ()
        main.query_one(StatusLine).show(status, bridge.waiting, main.is_narrow, extra)
        if bridge.waiting is not None and bridge.waiting.number not in self._rung_for:
            self._rung_for.add(bridge.waiting.number)
            self._app.bell()

    def _show_tiny(self, status: Status) -> None:
        """Show the status, the waiting proposal and the last experiment in a terminal that is too small for the panes."""
        bridge, main, state = self._bridge, self._main, self._bridge.state
        judged = next((e for e in reversed(state.experiments.values()) if e.verdict is not None), None)
        last = table_row(state, judged) if judged is not None and main.is_unreadable else None
        waiting, proposal, number = bridge.waiting, None, None
        if waiting is not None and not main.is_unreadable:
            number = waiting.number
            lines = diffs.parse(run_files.read_diff(bridge.folder, number))
            proposal = ProposalText(state.experiments[number].hypothesis, lines)
        size = self._app.size.width - TINY_MARGIN, self._app.size.height - 1  # a line is for the keys
        main.show_tiny(tiny_lines(status, waiting, proposal, last, size, palette(self._app)), number)

    def show_loss(self) -> None:
        """Show the curve of the followed training with its latest figures."""
        training = self._curves.followed_curve()
        self._main.query_one(LossPane).show(training.name, training.curve, training.best, training.job, training.others)

    def _show_current(self) -> None:
        """Show what the agent and the trainer say."""
        self._current_t = time.monotonic()
        training = self._curves.followed_curve()
        stream = [line for line in self._bridge.live.stream.splitlines()[-STREAM_LINES:] if line.strip()]
        current = [words.sanitize_line(line, 300) for line in stream] + self._curves.latest_lines(training.job)
        self._main.query_one(ActivityPane).show_current(current)

    def _show_panes(self, *, program: bool) -> None:
        """Show the panes for the first time. The table gets the focus unless the user is typing. `program`: program.md was read."""
        main = self._main
        table = main.query_one(ExperimentsPane)
        main.show_panes(table)
        if not isinstance(main.focused, Input):
            main.set_focus(table)
        # after the second refresh, since a summary that opens by itself is first laid out and then filled
        self._app.call_after_refresh(self._app.call_after_refresh, self._complete, program)

    def _complete(self, program: bool) -> None:
        """Show program.md and complete the table, which both take time, after the first paint. Enable the garbage collector.

        Objects that exist now live as long as the app, so they are excluded from collection.
        """
        if program:
            self._main.query_one(ProgramPane).show(self._bridge.program_text)
        older = list(reversed(self._bridge.state.experiments))[FIRST_ROWS:]
        self._main.query_one(ExperimentsPane).show_older(self._rows(older))
        gc.freeze()
        gc.enable()

    def _changed_numbers(self, news: News) -> list[int]:
        """Return the experiments whose rows may have changed."""
        state = self._bridge.state
        if news.first:  # `_complete` adds the others
            return list(reversed(state.experiments))[:FIRST_ROWS]
        if _has_event(news, ev.Grouped):  # other scores form pairs
            return sorted(state.experiments)
        numbers = {n for event in news.events if (n := getattr(event, "number", None)) in state.experiments}
        if measured := {event.commit for event in news.events if isinstance(event, ev.Measured)}:
            numbers |= affected_numbers(state, measured)
        return sorted(
            numbers | set(state.open if news.alive else ())
        )  # open experiments look different when a loop starts or ends

    def _rows(self, numbers: Iterable[int]) -> Iterable[Row]:
        state, is_alive = self._bridge.state, self._bridge.pid is not None
        scale = Scale(state)
        return (table_row(state, state.experiments[number], is_alive, scale) for number in numbers)

    def _show_change(self) -> None:
        pane, followed, state = self._main.query_one(ChangePane), self._selection.followed, self._bridge.state
        if followed is None:
            pane.show_nothing()
            return
        diff = run_files.read_diff(self._bridge.folder, followed.number)
        pane.show(followed.number, followed.hypothesis, diff, outdated_warning(state, followed))
        verdict = words.verdict(followed, self._bridge.pid is not None)
        pane.show_status(followed.number, verdict, self._bridge.waiting)

    def _show_reading_of_program(self) -> None:
        state = self._bridge.state
        charter = state.charter
        used_from = next((n for n, e in state.experiments.items() if charter and e.charter == charter.sha), None)
        is_changed = bool(charter and charter.sha and self._bridge.program_sha() not in ("", charter.sha))
        warnings = [
            text for text in (phrases.over_limit_warning(state), *(charter.warnings if charter else ())) if text
        ]
        pane = self._main.query_one(ProgramPane)
        pane.show_reading(
            used_from,
            is_changed,
            self._bridge.ideas,
            charter.understood if charter else (),
            warnings,
            charter.problem if charter else "",
        )
        pane.show_proposed_limits(charter.proposed if charter else ())


def _has_event(news: News, kinds: object) -> bool:
    return any(isinstance(event, kinds) for event in news.events)  # type: ignore[arg-type]
