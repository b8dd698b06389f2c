"""Reads the state of a run from its journal, whether or not its loop is alive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from core.machine.project import UsageError
from core.record import journal, live, run_lock
from core.record.fold import fold
from core.record.state import State

if TYPE_CHECKING:
    from core.reporting.status import RunStatus


def read_state(folder: Path) -> State:
    """Return the state of a run, which has its header.

    Raises:
        UsageError: The run has no header yet.
        JournalError: The journal cannot be read.
    """
    state = fold(journal.read(folder / journal.NAME), State(name=folder.name))
    if state.config is None:
        raise UsageError(f"The journal of {folder.name} is still empty; its loop is just starting.")
    return state


def read_status(folder: Path) -> RunStatus:
    """Return the status of a run. Raises as `read_state`."""
    from core.judging import schedule  # imported late, as `attach` and `hint` start without these
    from core.machine import stats
    from core.reporting import status

    state = read_state(folder)
    warnings = [words for words in (stats.disk_warning(folder),) if words]
    return status.status(state, schedule.noise(state), run_lock.alive(folder), live.read(folder), warnings)
