"""Reads the state of a run from its journal, whether or not its loop is alive."""

from __future__ import annotations

from pathlib import Path

from core.machine.project import UsageError
from core.record import journal
from core.record.fold import fold
from core.record.state import State


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
