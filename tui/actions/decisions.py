"""All actions that change the run or program.md, in one class."""

from __future__ import annotations

from tui.actions.backlog import BacklogActions
from tui.actions.experiment import ExperimentActions
from tui.actions.loop import LoopActions
from tui.actions.own_change import OwnChangeActions
from tui.actions.program import ProgramActions
from tui.actions.proposal import ProposalActions


class DecisionActions(
    ProposalActions, OwnChangeActions, LoopActions, ProgramActions, BacklogActions, ExperimentActions
):
    """The actions that change the run or program.md. Most send a command to the loop and show its reply."""
