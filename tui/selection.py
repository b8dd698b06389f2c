"""The experiment that the panes show."""

from __future__ import annotations

from core.record.experiment import Experiment
from tui.bridge import Bridge

MOST_PINNED = 3


class Selection:
    """The experiment that the user chose in the table, or the most relevant one."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self.chosen: int | None = None  # the experiment under the cursor; None if the table follows the newest
        self.marked: int | None = None  # the first experiment of a comparison that the user has begun
        self.pinned: list[int] = []  # the experiments whose curves are shown for comparison, at most MOST_PINNED

    def pin(self, number: int) -> None:
        """Show the curve of an experiment beside others, or no longer. A fourth one takes the place of the first."""
        self.pinned = (
            [one for one in self.pinned if one != number]
            if number in self.pinned
            else [*self.pinned, number][-MOST_PINNED:]
        )

    @property
    def followed(self) -> Experiment | None:
        """The chosen experiment, else the leading one."""
        experiments = self._bridge.state.experiments
        number = self.chosen if self.chosen in experiments else self.leading
        return experiments[number] if number is not None else None

    @property
    def leading(self) -> int | None:
        """The experiment that waits for an answer, else the newest running one, the newest one that has begun, or the newest one."""
        state, waiting = self._bridge.state, self._bridge.waiting
        running = [launched.number for launched in state.running.values()]
        ended = (
            next((n for n in reversed(state.experiments) if state.experiments[n].launched), None)
            if not self._bridge.pid
            else None
        )
        candidates = (
            waiting.number if waiting else None,
            *reversed(running),
            ended,
            max(state.experiments, default=None),
        )
        return next((number for number in candidates if number is not None and number in state.experiments), None)
