"""Reads the status of one run or of all runs, whether or not their loops are alive."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from pathlib import Path

import msgspec

from core.errors import explained
from core.judging import schedule
from core.machine import stats
from core.machine.project import Project
from core.record import live, run_lock
from core.reporting import run_table, status
from core.reporting.status import RunStatus
from core.run.background import say
from core.run.reading import read_state


def run_status(folder: Path) -> RunStatus:
    """Return the status of a run. Raises UsageError if it has no header yet, JournalError if its journal cannot be read."""
    state = read_state(folder)
    warnings = [words for words in (stats.disk_warning(folder),) if words]
    return status.status(state, schedule.noise(state), run_lock.alive(folder), live.read(folder), warnings)


def all_runs(project: Project) -> list[RunStatus | str]:
    """Return the status of each run, or a sentence for one that cannot be read: those at work, then the others."""
    found: list[RunStatus | str] = []
    for folder in project.runs():
        try:
            found.append(run_status(folder))
        except Exception as error:  # one odd run must not hide the others
            found.append(f"{folder.name}: {explained(error) or f'its journal cannot be understood ({error!r})'}")
    return found


def print_table(project: Project) -> None:
    """Print one line for each run."""
    found = all_runs(project)
    if not found:
        say(f"There is no run in {project.logs} yet. `make run` starts one.")
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in run_table.table(found, max(run_table.WIDTH, columns)):
        say(line)


def print_json(project: Project) -> None:
    """Print the status of all runs as a JSON array. Sentences about runs that cannot be read go to stderr."""
    found = all_runs(project)
    for words in found:
        if isinstance(words, str):
            with contextlib.suppress(OSError):
                print(words, file=sys.stderr, flush=True)
    say(json.dumps([msgspec.to_builtins(one) for one in found if not isinstance(one, str)]))
