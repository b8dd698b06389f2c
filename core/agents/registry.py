"""Agents by name. Add one here after writing it against `core.agents.base.Agent`."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from core.agents.base import Agent
from core.agents.presets import PRESETS
from core.agents.several import Turns, WithStandIn
from core.project import UsageError

Maker = Callable[[], Agent]
Tenancy = Literal["auto", "unload", "coresident", "cpu", "remote"]

KNOWN = {
    "search": "no language model: Optuna over the knobs and a book of structural edits",
    "script:FILE": "a file of proposals, one JSON object a line",
    "ollama:MODEL": "a model of an Ollama server; `search` stands in when it fails",
    "openai:MODEL": "any OpenAI-compatible endpoint, by OPENAI_BASE_URL and OPENAI_API_KEY",
    "command:CMD": "any coding agent's command line in a scratch copy of the source tree",
    "python:FILE": "your own: a file with `make()` that returns an agent (docs/agents.md)",
    "claude, codex, opencode, aider": "the command lines of these, with their flags",
}
_KINDS = "search|script:|python:|ollama:|openai:|command:|claude|codex|opencode|aider"


def check(spec: str, root: Path | None = None, device: str = "cpu", tenancy: Tenancy = "auto") -> Maker:
    """What makes the agent of that name, or of several with commas between. Raises UsageError for one that does not exist."""
    makers = [_one(part.strip(), root, device, tenancy) for part in re.split(rf",(?=\s*(?:{_KINDS}))", spec)]
    if len(makers) == 1:
        return makers[0]
    return lambda: Turns([maker() for maker in makers])


def _one(spec: str, root: Path | None, device: str, tenancy: Tenancy) -> Maker:
    kind, _, argument = spec.partition(":")
    if kind == "search" and not argument:
        return _search
    if kind == "script" and argument:
        path = Path(argument).expanduser().resolve()
        if not path.is_file():
            raise UsageError(f"The script {path} does not exist. Nothing was started.")
        return lambda: _script(path)
    if kind == "python" and argument:
        return lambda: _python(Path(argument).expanduser().resolve())
    if kind == "ollama" and argument:
        return lambda: _ollama(argument, device, tenancy)
    if kind == "openai" and argument:
        return lambda: _openai(argument)
    if kind == "command" and argument:
        return lambda: _command(argument, argument, root)
    if kind in PRESETS and not argument:
        return lambda: _command(kind, PRESETS[kind], root)
    known = "; ".join(f"{name} ({words})" for name, words in KNOWN.items())
    raise UsageError(f"There is no agent {spec!r}. Known: {known}. Nothing was started.")


def _ollama(model: str, device: str, tenancy: Tenancy) -> Agent:
    from core.agents.chat import LanguageModel
    from core.agents.ollama import Ollama, address, local

    if tenancy == "auto":
        tenancy = "unload" if device == "cuda" and local(address()) else "coresident"
    shared = tenancy == "unload"
    return WithStandIn(
        LanguageModel(Ollama(model, on_gpu=shared, no_gpu=tenancy == "cpu"), exclusive=shared), _search()
    )


def _python(path: Path) -> Agent:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    try:
        if spec is None or spec.loader is None:
            raise ImportError("it is no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        agent: Agent = module.make()
    except Exception as error:
        raise UsageError(
            f"The agent in {path} cannot be made ({type(error).__name__}: {error}). Nothing was started."
        ) from error
    return agent


def _openai(model: str) -> Agent:
    from core.agents.chat import LanguageModel
    from core.agents.openai import OpenAI

    return WithStandIn(LanguageModel(OpenAI(model)), _search())


def _command(name: str, command: str, root: Path | None) -> Agent:
    from core.agents.command import Command

    return Command(name, command, root or Path.cwd())


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
