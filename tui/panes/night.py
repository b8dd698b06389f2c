"""The pane of the run's progress: a dot for each experiment, and a staircase for the best so far."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from tui.view import words
from tui.view.night import Night
from tui.widgets.night_plot import NightPlot
from tui.widgets.pane import Pane


class NightPane(Pane):
    """A plot of all experiments of the run."""

    NUMBER: ClassVar[int] = 6
    NAME: ClassVar[str] = "progress"

    def compose(self) -> ComposeResult:
        yield NightPlot(id="dots")

    def show(self, night: Night) -> None:
        """Draw the plot. Does nothing before the baseline has a score."""
        if not night.stairs:
            return
        first, last = night.stairs[0][1], night.stairs[-1][1]
        self.set_title(self.NAME, f"{words.bpb(first)} → {words.bpb(last)}" if last != first else "")
        self.query_one(NightPlot).show_night(night)
