"""Asks the human at a terminal whether to pull a model, and pulls it with a progress bar. Never called unattended."""

from __future__ import annotations

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from core.agents import reach
from core.agents.base import AgentFailed
from core.agents.llm.connection import pulling_client, to_ollama
from core.agents.llm.ollama.models import failure
from core.machine.project import UsageError


def offer_first() -> None:
    """Offer to pull a model if the server has none. Raises UsageError if pulling fails."""
    model = reach.offer()
    if model is not None and typer.confirm(f"Ollama runs here but has no model. Pull {model} now?", default=False):
        pull(model)


def offer_missing(spec: str, without: str = "search proposes") -> None:
    """Offer to pull named models that the server lacks. `without`: what happens without such a model. Raises UsageError."""
    for model in reach.missing(spec):
        if typer.confirm(f"Ollama has no model {model}. Pull it now? Without it, {without}.", default=False):
            pull(model)


def pull(model: str) -> None:
    """Pull a model. Raises UsageError with the server's message."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    ending = "The model was not pulled; nothing was started."
    try:
        way = to_ollama()
    except AgentFailed as error:
        raise UsageError(f"{error} {ending}") from error
    try:
        with Progress(*columns) as progress:
            task = progress.add_task(f"pulling {model}", total=None)
            for part in pulling_client(way).pull(model, stream=True):
                progress.update(task, total=part.total, completed=part.completed or 0, description=part.status or "")
    except Exception as error:
        raise UsageError(f"{failure(error, way, model)} {ending}") from error
