"""Agents by name. Add one here after writing it against `core.agents.base.Agent`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.agents.base import Agent
from core.project import UsageError

Maker = Callable[[], Agent]

KNOWN = {
    "search": "no language model: Optuna over the knobs and a book of structural edits",
    "script:FILE": "a file of proposals, one JSON object a line",
}


def check(spec: str) -> Maker:
    """What makes the agent of that name. Raises UsageError for one that does not exist or cannot start."""
    kind, _, argument = spec.partition(":")
    if kind == "search" and not argument:
        return _search
    if kind == "script" and argument:
        path = Path(argument).expanduser().resolve()
        if not path.is_file():
            raise UsageError(f"The script {path} does not exist. Nothing was started.")
        return lambda: _script(path)
    known = "; ".join(f"{name} ({words})" for name, words in KNOWN.items())
    raise UsageError(f"There is no agent {spec!r}. Known: {known}. Nothing was started.")


def _search() -> Agent:
    from core.agents.search import Search

    return Search()


def _script(path: Path) -> Agent:
    from core.agents.script import Script

    try:
        return Script(path)
    except ValueError as error:
        raise UsageError(f"{error} Nothing was started.") from error


__all__ = ["Agent", "check"]
