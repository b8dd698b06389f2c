"""The commands `export` and `sample`: the models of a run, and what they write."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.cli_options import AsJson, Logs, Name
from core.machine.project import find as find_project
from core.machine.project import shown_path
from core.run.background import say
from core.run.json_output import say_json, words_on_stderr

if TYPE_CHECKING:
    from core.export.training import Exported
    from core.record.state import State

Beside = Annotated[bool, typer.Option("--beside", help="Do it beside a run that trains on the same device.")]


def export(
    name: Name = None,
    experiment: Annotated[
        str, typer.Option(help="Which train.py: start, best, or the number of an experiment.", metavar="N|start|best")
    ] = "best",
    out: Annotated[
        Path | None,
        typer.Option(
            help="An empty or new folder that gets a copy.", metavar="FOLDER", show_default="logs/RUN/export/"
        ),
    ] = None,
    beside: Beside = False,
    as_json: AsJson = False,
    logs: Logs = None,
) -> None:
    """Keep a model of a run: weights, train.py, tokenizer and a loader. It is trained once more, as the run did."""
    from core.export import folder as exports
    from core.export import version
    from core.export.training import Exporter
    from core.run.reading import read_state

    project = find_project(logs)
    folder = project.pick(name)
    state = read_state(folder)
    if out is not None:
        exports.make_empty(out)
    with words_on_stderr(on=as_json):
        [exported] = Exporter(project, folder, state, beside, say).export([version.find(state, experiment)])
        place = exported.folder
        if out is not None:
            exports.copy(place, out)
            place = out
        _say_exported(exported, place, state)
    if as_json:
        unprotected = tuple(exported.unprotected)
        say_json(
            exports.Export(
                folder=shown_path(place), fresh=exported.fresh, unprotected=unprotected, facts=exported.facts
            )
        )


def _say_exported(exported: Exported, place: Path, state: State) -> None:
    from core.export import samples
    from core.export.folder import LOADER
    from core.export.training import comparison
    from core.text import capital
    from nanochat.contract.shell import quoted

    facts, where = exported.facts, shown_path(place)
    if not exported.fresh:
        say(f"{capital(facts.version)} of run {state.name} was exported before. Nothing was trained.")
    if exported.unprotected:
        say(f"Unprotected: {', '.join(exported.unprotected)}.")
    say(comparison(facts, state))
    if facts.change_words:
        say(f"{capital(facts.change_words)}.")
    say(f"{where} has the weights ({facts.weights_bytes / 1e6:.1f} MB), train.py, the tokenizer and a loader.")
    words = [".venv/bin/python", str(Path(where) / LOADER), samples.default_prompt(facts.dataset)]
    say(f"`{quoted(words)}` prints what the model writes, outside of the sandbox.")


def sample(
    name: Name = None,
    prompt: Annotated[
        str | None, typer.Option(help="What the text begins with.", metavar="TEXT", show_default="by the dataset")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, max=10_000, help="Write at most N tokens.", metavar="N")] = 100,
    temperature: Annotated[
        float, typer.Option(help="How freely to choose: 0 takes the likeliest token.", metavar="T")
    ] = 0.8,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Another seed writes another text.", metavar="S")] = 0,
    as_json: AsJson = False,
    beside: Beside = False,
    logs: Logs = None,
) -> None:
    """Print what the start and the best of a run write for the same prompt. Both are exported first if they are not yet."""
    from core.export import samples
    from core.export.sampling import write_samples

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else samples.WIDTH
    text = prompt.encode(errors="replace").decode() if prompt is not None else None  # bytes that are not UTF-8
    found = write_samples(
        find_project(logs), name, text, tokens, temperature, seed, beside=beside, say=_tell_error if as_json else say
    )
    say(samples.as_json(found) if as_json else samples.as_text(found, width, sys.stdout.isatty()))


def _tell_error(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
