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
from core.run.background import say, typeset

WIDTH = 120  # columns of a text that is not for a terminal


def compare(
    first: Annotated[
        str | None, typer.Argument(help="A number, start or best.", metavar="A", show_default=False)
    ] = None,
    second: Annotated[
        str | None, typer.Argument(help="Another one of the same run.", metavar="B", show_default=False)
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    name: Annotated[
        str | None, typer.Option("--run", help="The run; it may also stand before A and B. Default: the latest.")
    ] = None,
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
        shown = [typeset(line) for line in run_comparison.text(both, width)]
        data = msgspec.to_builtins(both)
    else:
        name, first, second = _named(name, [word for word in (first, second, *(more or ())) if word is not None])
        if first is None or second is None:
            raise UsageError("Name two experiments, such as `compare 3 7`, or two runs with --runs.")
        result = comparing.compare_experiments(project.pick(name), first, second)
        head, diff = comparison.text(result, width)
        shown = [*map(typeset, head), *diff]  # not within the code
        data = msgspec.to_builtins(result)
    say(json.dumps(data) if as_json else "\n".join(shown))


def _named(run: str | None, words: list[str]) -> tuple[str | None, str | None, str | None]:
    """Return the run and the two experiments. Of three words without --run the first one, or else the last one, is the run."""
    if len(words) == 3 and run is None:
        run = words.pop(0 if not _is_experiment(words[0]) else 2)
    if len(words) > 2:
        raise UsageError(
            "`compare` takes two experiments, and more were named. Use `compare 3 7` for the latest run, and `compare RUN 3 7` for "
            "another one."
        )
    first, second = [*words, None, None][:2]
    return run, first, second


def _is_experiment(word: str) -> bool:
    return word.strip().removeprefix("#").isdigit() or word.strip().lower() in ("start", "baseline", "best")
