"""All panes, in the order of the screen and of the tabs, and their styles."""

from __future__ import annotations

from tui.panes.activity import ActivityPane
from tui.panes.change import ChangePane
from tui.panes.experiments import ExperimentsPane
from tui.panes.loss import LossPane
from tui.panes.machine import MachinePane
from tui.panes.night import NightPane
from tui.panes.program import ProgramPane
from tui.widgets.pane import Pane

PANES: tuple[type[Pane] | type[ExperimentsPane], ...] = (
    ProgramPane, ChangePane, LossPane, MachinePane, ExperimentsPane, NightPane, ActivityPane,
)  # fmt: skip
STYLES = ("status", "program", "change", "loss", "machine", "experiments", "night", "activity")  # tui/panes/<name>.tcss
