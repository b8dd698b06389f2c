"""The detail screen: everything about one experiment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.screen import Screen

from core.record.experiment import Experiment
from core.record.state import State
from tui import run_files
from tui.system import colours
from tui.textual_internals import Static
from tui.view import diffs, words
from tui.view.detail import experiment_facts, loss_legend, output_and_files
from tui.widgets.diff_text import DiffText
from tui.widgets.footer import KeysLine
from tui.widgets.loss_plot import Line, draw_losses
from tui.widgets.pane import SCROLL_KEYS, Pane
from tui.widgets.plot import Plot
from tui.widgets.prompt import Prompt

REFRESH_S = 2.0
END_S = 3.0  # how long a note says that there is no older or newer experiment
OUTPUT = 4000  # last characters of the trainer's output that are shown
MOST_FILES = 12  # file names that are listed


class Body(Pane):
    """The scrolling part of the screen."""

    NUMBER: ClassVar[int] = 0
    NAME: ClassVar[str] = "body"


class Run(Protocol):
    """The interface of a run that the screen needs. `pid` is the process of its loop; None if no loop runs."""

    state: State
    folder: Path
    pid: int | None


class DetailScreen(Screen[int]):
    """Shows the details of an experiment. The result of the screen is the number of the experiment shown last."""

    class Walked(Message):
        """Posted when another experiment is shown, since other keys may be valid."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *SCROLL_KEYS,
        Binding("left_square_bracket", "older", "older", show=False),
        Binding("right_square_bracket", "newer", "newer", show=False),
        Binding("escape,q,enter", "leave", "back", show=False),
        Binding("ctrl+c,ctrl+q", "app.detach", "detach", show=False, priority=True),
    ]

    def __init__(self, run: Run, numbers: Sequence[int], number: int) -> None:
        """Prepare the screen.

        Args:
            run: The run of the experiments.
            numbers: All experiments to walk through, in any order.
            number: The experiment to show first.
        """
        super().__init__()
        self._run = run
        self._numbers = (
            sorted(numbers, reverse=True) if number in numbers else [number]
        )  # the newest first, whatever the table's order
        self.number = number

    def compose(self) -> ComposeResult:
        with Body():
            yield Static(id="facts")
            yield Static(id="legend")
            yield Plot(id="against")
            yield DiffText(id="detail-diff")
            yield Static(id="more")
        yield Prompt()
        yield KeysLine(
            (("[", "screen.older", "older"), ("]", "screen.newer", "newer"), ("escape", "screen.leave", "back"))
        )

    def on_mount(self) -> None:
        self.query_one(Body).focus()
        self.show()
        self.set_interval(REFRESH_S, self._refresh_running)

    def _refresh_running(self) -> None:
        """Update the curve and output of an experiment without a verdict, and what a check finds about one that was kept."""
        state = self._run.state
        experiment = state.experiments.get(self.number)
        if experiment is not None and (experiment.verdict is None or (state.checking and experiment.kept_as)):
            self.show()

    def on_resize(self, event: events.Resize) -> None:
        self.show()

    def on_diff_text_folded(self) -> None:
        self.show()

    def action_leave(self) -> None:
        self.dismiss(self.number)

    def action_older(self) -> None:
        self._walk(1)

    def action_newer(self) -> None:
        self._walk(-1)

    def _walk(self, step: int) -> None:
        index = self._numbers.index(self.number) + step
        if not 0 <= index < len(self._numbers):
            self.notify(f"There is no {'older' if step > 0 else 'newer'} experiment in the table.", timeout=END_S)
            return
        self.number = self._numbers[index]
        self.show()
        self.query_one(Body).scroll_home(animate=False)
        self.post_message(self.Walked())

    def show(self) -> None:
        """Show the current state of the experiment."""
        state, folder = self._run.state, self._run.folder
        experiment = state.experiments.get(self.number)
        if experiment is None or not self.query("#more"):  # called before the screen is composed
            return
        body = self.query_one(Body)
        verdict = words.verdict(experiment, self._run.pid is not None)
        width = body.scrollable_content_region.width
        self.query_one("#facts", Static).update(experiment_facts(state, experiment, verdict, width))
        self._show_curves(experiment)
        diff = self.query_one(DiffText)
        diff.show(diffs.parse(run_files.read_diff(folder, self.number)), width)
        body.set_title(f"#{self.number} {verdict}", diff.notes)
        self.query_one("#more", Static).update(Content("\n").join(_output(folder, experiment, width)))

    def _show_curves(self, experiment: Experiment) -> None:
        """Draw the loss curves of an experiment and its parent with a legend, if the experiment has one."""
        state, folder = self._run.state, self._run.folder
        curve, parents = (
            run_files.read_curve(run_files.metrics_path(state, folder, commit))
            for commit in (experiment.commit, experiment.parent)
        )
        marker = "" if colours.tell_curves_apart(self.app) else "·"
        lines = (Line(parents, "primary", marker), Line(curve, "accent"))
        plot = self.query_one(Plot)
        plot.display = bool(curve.loss)
        plot.show(lambda plot: draw_losses(plot, lines))
        legend = loss_legend((f"#{experiment.number}", curve), ("parent", parents), f"━{marker or '━'}")
        self.query_one("#legend", Static).update(legend)


def _output(folder: Path, experiment: Experiment, width: int) -> list[Content]:
    number = experiment.number
    own = run_files.experiment_folder(folder, number)
    names = ", ".join(run_files.list_files(folder, number)[:MOST_FILES])
    return output_and_files(
        experiment,
        output=run_files.read_output(folder, number, OUTPUT),
        files=f"{folder.parent.name}/{folder.name}/{own.name}: {names}",
        width=width,
    )
