"""All decisions of the user. Each becomes a command to the loop, whose reply is shown."""

from __future__ import annotations

from tui.actions.experiment import ExperimentActions
from tui.actions.loop import LoopActions
from tui.actions.own import OwnActions
from tui.actions.program import ProgramActions
from tui.actions.proposal import ProposalActions


class DecisionActions(ProposalActions, OwnActions, LoopActions, ProgramActions, ExperimentActions):
    """The actions that change the run or program.md."""
