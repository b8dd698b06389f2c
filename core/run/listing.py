"""Lists all runs, whether or not their loops are alive."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys

import msgspec

from core.errors import explained
from core.machine.project import Project
from core.reporting import run_table
from core.reporting.status import RunStatus
from core.run.background import say
from core.run.reading import read_status


def all_runs(project: Project) -> list[RunStatus | str]:
    """Return the status of each run, or a sentence for one that cannot be read: those at work, then the others."""
    runs: list[RunStatus | str] = []
    for folder in project.runs():
        try:
            runs.append(read_status(folder, project.root))
        except Exception as error:  # one odd run must not hide the others
            runs.append(f"{folder.name}: {explained(error) or f'its journal cannot be understood ({error!r})'}")
    return runs


def print_table(project: Project) -> None:
    """Print one line for each run."""
    runs = all_runs(project)
    if not runs:
        say(f"There is no run in {project.logs} yet. `make run` starts one.")
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in run_table.table(runs, max(run_table.WIDTH, columns)):
        say(line)


def print_json(project: Project) -> None:
    """Print the status of all runs as a JSON array. Sentences about runs that cannot be read go to stderr."""
    runs = all_runs(project)
    for problem in runs:
        if isinstance(problem, str):
            with contextlib.suppress(OSError):
                print(problem, file=sys.stderr, flush=True)
    say(json.dumps([msgspec.to_builtins(run) for run in runs if not isinstance(run, str)]))
