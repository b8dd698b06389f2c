"""Actions that compare two experiments."""

from __future__ import annotations

from core.reporting.comparison import START
from tui import run_files
from tui.actions.viewing import ViewingActions
from tui.panes.experiments import ExperimentsPane
from tui.screens.comparison import ComparisonScreen, Contents
from tui.view.curves import Curve


class ComparingActions(ViewingActions):
    """The keys c and C."""

    def action_compare(self) -> None:
        """Mark the selected experiment, or compare it with the marked one. The same one again removes the mark."""
        target, marked = self.target, self.selection.marked
        if target is None:
            return
        if marked is None:
            self.mark(target.number)
            return
        self.mark(None)
        if marked != target.number:
            self._open_comparison(marked, target.number)

    def action_compare_start(self) -> None:
        """Compare the start with the selected experiment."""
        if (target := self.target) is not None:
            self.mark(None)
            self._open_comparison(START, target.number)

    async def action_back(self) -> None:
        """Remove the mark, or else what escape does otherwise."""
        if self.selection.marked is not None:
            self.mark(None)
        else:
            await super().action_back()

    def mark(self, number: int | None) -> None:
        """Mark an experiment as the first of a comparison; None for no mark."""
        self.selection.marked = number
        self.main.query_one(ExperimentsPane).mark(number)
        self.refresh_keys()

    def _open_comparison(self, first: int, second: int) -> None:
        if self.updates.noise is not None and not self.main.is_tiny:
            self.open_page(ComparisonScreen(lambda: self._comparison((first, second))))

    def _comparison(self, numbers: tuple[int, int]) -> Contents:
        """Return the present contents of the comparison screen."""
        from core.run import comparing  # imported late, so that the app starts quickly

        bridge, noise = self.bridge, self.updates.noise
        assert noise is not None
        found = comparing.compare(bridge.state, bridge.folder, numbers, noise.sigma, alive=bridge.pid is not None)
        first, second = (run_files.read_diff(bridge.folder, number) if number != START else "" for number in numbers)
        return Contents(found, (first, second), (self._curve(found.first.commit), self._curve(found.second.commit)))

    def _curve(self, commit: str) -> Curve:
        return run_files.read_curve(run_files.metrics_path(self.bridge.state, self.bridge.folder, commit))
