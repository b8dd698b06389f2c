"""The command `compare`."""

from __future__ import annotations

import json
import shutil
import sys
from typing import Annotated

import msgspec
import typer

from core.cli_options import AsJson, Logs
from core.machine.project import UsageError, find
from core.run.background import say

WIDTH = 120  # columns of a text that is not for a terminal


def compare(
    first: Annotated[
        str | None, typer.Argument(help="A number, start or best.", metavar="A", show_default=False)
    ] = None,
    second: Annotated[
        str | None, typer.Argument(help="Another one of the same run.", metavar="B", show_default=False)
    ] = None,
    name: Annotated[str | None, typer.Option("--run", help="The run; the latest when not given.")] = None,
    runs: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Compare two runs instead.", metavar="RUN RUN", show_default=False),
    ] = None,
    as_json: AsJson = False,
    logs: Logs = None,
) -> None:
    """Two experiments side by side: scores, their difference, and the diff of train.py. Or two runs."""
    from core.reporting import comparison, run_comparison
    from core.run import comparing

    project = find(logs)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
    if runs is not None:
        if any(run.startswith("-") for run in runs):
            raise UsageError("--runs needs the names of two runs; `make runs` lists them.")
        if first is not None or name is not None:
            raise UsageError("--runs compares two runs as a whole. Leave out the experiments and --run.")
        if runs[0] == runs[1]:
            raise UsageError(f"{runs[0]} was given twice. Name two different runs; `make runs` lists them.")
        both = comparing.compare_runs(project.pick(runs[0]), project.pick(runs[1]))
        shown = run_comparison.text(both, width)
        data = msgspec.to_builtins(both)
    else:
        if first is None or second is None:
            raise UsageError("Name two experiments, such as `compare 3 7`, or two runs with --runs.")
        result = comparing.compare_experiments(project.pick(name), first, second)
        shown = comparison.text(result, width)
        data = msgspec.to_builtins(result)
    say(json.dumps(data) if as_json else "\n".join(shown))
