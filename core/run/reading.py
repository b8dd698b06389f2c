"""Reads the state of a run from its journal, whether or not its loop is alive."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from core.machine.project import Project, UsageError, shown_path
from core.record import journal, live, run_lock
from core.record.fold import fold
from core.record.state import State
from core.run.background import say, typeset

if TYPE_CHECKING:
    from core.reporting.status import RunStatus


def read_state(folder: Path) -> State:
    """Return the state of a run, which has its header.

    Raises:
        UsageError: The run has no header yet.
        JournalError: The journal cannot be read.
    """
    state = fold(journal.read(folder / journal.NAME), State(name=folder.name))
    check_header(state, folder)
    return state


def check_header(state: State, folder: Path) -> None:
    """Raise UsageError if the journal of a run has no header yet."""
    if state.config is None:
        raise UsageError(f"The journal of {folder.name} is still empty; its loop is just starting.")


def read_status(folder: Path, root: Path | None = None) -> RunStatus:
    """Return the status of a run. Raises as `read_state`.

    Args:
        folder: The folder of the run.
        root: The source tree, to find out whether it has the best train.py already.
    """
    return status_of(read_state(folder), folder, root)


def status_of(state: State, folder: Path, root: Path | None = None) -> RunStatus:
    """Return the status of a run whose state is known. The arguments are those of `read_status`."""
    from core.judging import schedule  # imported late, as `attach` and `hint` start without these
    from core.machine import stats
    from core.reporting import status
    from core.run.applied import is_applied

    warnings = [warning for warning in (stats.disk_warning(folder),) if warning]
    applied = root is not None and bool(state.kept) and is_applied(root, folder)
    alive, now = run_lock.alive(folder), live.read(folder)
    if run_lock.worker(folder) is None:
        state.forget_checks()
    files = report_files(folder)
    return status.status(state, schedule.noise(state), alive, now, warnings, applied=applied, files=files)


def report_files(folder: Path) -> tuple[str, str]:
    """Return the paths of the report of a run and of its picture, as text; "" for one that does not exist."""
    from core.reporting.results import HTML, PNG

    html, png = (shown_path(path) if path.exists() else "" for path in (folder / HTML, folder / PNG))
    return html, png


def print_status(project: Project, name: str | None, *, as_json: bool, line: bool) -> None:
    """Print the status of a run as text, as a JSON object, or in one line. Raises as `read_state`.

    `name`: the name of the run; None for the latest one.
    """
    from core.reporting import summary

    found = read_status(project.pick(name), project.root)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else summary.WIDTH
    if as_json:
        say(json.dumps(msgspec.to_builtins(found)))
    else:
        text = (
            summary.one_line_summary(found)
            if line
            else summary.text(summary.summary(found, width, brief=not found.loop.alive))
        )
        say(typeset(text))
