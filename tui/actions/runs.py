"""Actions that list all runs and compare two of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from core.machine.project import Project
from core.record import journal
from core.reporting.run_comparison import RunPair
from core.reporting.status import RunStatus
from tui.actions.comparing import ComparingActions
from tui.screens.run_comparison import RunComparisonScreen
from tui.screens.runs import RunsScreen


class RunsActions(ComparingActions):
    """The key R."""

    def action_runs(self) -> None:
        """List all runs, with that of the app marked."""
        if self.updates.noise is not None and not self.main.is_tiny:
            self.open_page(RunsScreen(self.bridge.folder.name, self._all_runs))

    def on_runs_screen_chosen(self, event: RunsScreen.Chosen) -> None:
        """Show two runs side by side, on top of the list."""
        names = event.first, event.second
        first, second = (self.bridge.folder.parent / name for name in names)
        self.open_page(RunComparisonScreen(names, reader(first, second)))

    def _all_runs(self) -> Sequence[RunStatus | str]:
        from core.run import listing  # imported late, so that the app starts quickly

        return listing.all_runs(Project(self.bridge.program.parent, self.bridge.folder.parent))


def reader(first: Path, second: Path) -> Callable[[], RunPair | None]:
    """Return a function that compares two runs, and returns None while their journals are those of its last call."""
    last: list[tuple[int, int]] = []

    def read() -> RunPair | None:
        from core.run import comparing  # imported late, so that the app starts quickly

        found = [_stamp(folder / journal.NAME) for folder in (first, second)]
        if found == last:
            return None
        pair = comparing.read_runs(first, second)
        last[:] = found
        return pair

    return read


def _stamp(path: Path) -> tuple[int, int]:
    """Return what changes when a file is written: its time and its size; zeros if it cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
