"""The experiment that the panes show."""

from __future__ import annotations

from core.record.experiment import Experiment
from tui.bridge import Bridge


class Selection:
    """The experiment that the user chose in the table, or the most relevant one."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.chosen: int | None = None  # the experiment under the cursor; None if the table follows the newest
        self.marked: int | None = None  # the first experiment of a comparison that the user has begun

    @property
    def followed(self) -> Experiment | None:
        """The chosen experiment; else the one that waits for an answer, the newest running one, or the newest one."""
        state, waiting = self._bridge.state, self._bridge.waiting
        running = [launched.number for launched in state.running.values() if launched.number is not None]
        for number in (
            self.chosen,
            waiting.number if waiting else None,
            *reversed(running),
            max(state.experiments, default=None),
        ):
            if number is not None and number in state.experiments:
                return state.experiments[number]
        return None
