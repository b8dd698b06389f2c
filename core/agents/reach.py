"""Finds the models, endpoints and command lines that can be used, and the default agent of a new run."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil

from core.agents import registry
from core.agents.base import AgentFailed
from core.agents.llm.chat import needs
from core.agents.llm.connection import options, to_ollama, to_openai, unanswered
from core.agents.llm.ollama.models import Installed, NoServer, full, installed, pick, sized
from core.machine import stats
from core.machine.project import Project, UsageError
from nanochat.contract.shell import quoted

GOOD = "qwen2.5-coder:7b"  # the model that is offered if none is installed
SMALL = "qwen2.5-coder:1.5b"


def models() -> list[Installed]:
    """Return the models of the Ollama server. Raises AgentFailed if there is no server."""
    return asyncio.run(installed(to_ollama()))


def memory() -> int:
    """Return the bytes of the largest GPU, or 0 without a GPU."""
    return max(stats.gpu_memory(), default=0)


def tokens(project: Project, context: int | None = None) -> int:
    """Return the context length for a model, in tokens: the user's setting, else what train.py and program.md need."""
    if given := registry.given(context):
        return given
    try:
        return sized(
            needs(project.train.read_text(encoding="utf-8-sig"), project.program.read_text(encoding="utf-8-sig"))
        )
    except (OSError, UnicodeDecodeError):  # reported where these files are needed
        return sized(0)


def default(tokens: int) -> tuple[str, str]:
    """Return the default agents of a new run, and why: a model of Ollama and `search` if one fits, else `search` alone.

    Small models can find less than a search over the constants (arXiv 2603.24647). Together, each is asked as often as it pays.
    """
    try:
        installed = models()
    except AgentFailed as error:
        if isinstance(error, NoServer) and not os.environ.get("OLLAMA_HOST"):
            state = "running" if shutil.which("ollama") else "installed"
            return "search", f"Ollama is not {state} here, so `search` proposes."
        return "search", f"{error} So `search` proposes."
    chosen = pick(installed, memory(), tokens)
    if chosen is None:
        none = (
            f"none of its models fits here ({len(installed)})"
            if installed
            else f"has no model; `ollama pull {SMALL}` installs one"
        )
        return (
            "search",
            f"Ollama answers at {to_ollama().words}, but {none}. So `search` proposes. --agent ollama:MODEL uses a model anyway.",
        )
    return (
        f"ollama:{chosen[0].name},search",
        f"Agent {chosen[1]}. `search` proposes too; the one whose changes are kept is asked more often.",
    )


def offer() -> str | None:
    """Return a model to pull if the Ollama server has none. None if it has models or there is no server."""
    try:
        return None if models() else (GOOD if memory() > 8e9 else SMALL)
    except AgentFailed:
        return None


def missing(spec: str) -> list[str]:
    """Return the models in a list of agents that the Ollama server lacks. Empty if there is no server."""
    named = [part.partition(":")[2] for part in registry.parts(spec) if part.startswith("ollama:")]
    try:
        known = {full(model.name) for model in models()} if named else set()
    except AgentFailed:
        return []
    return [name for name in named if full(name) not in known]


def check(spec: str) -> None:
    """Raise UsageError if the only agent that the user has named cannot be reached.

    A list of agents is not checked: the others propose meanwhile, and each is asked again later. A run that is continued without
    --agent is not checked either.
    """
    named = registry.parts(spec)
    if len(named) > 1:
        return
    kind, _, argument = named[0].partition(":")
    try:
        problem = _unreachable(kind, argument)
    except AgentFailed as error:
        problem = str(error)
    if problem:
        raise UsageError(
            f"{problem} Nothing was started. `--agent search` needs no model; with {quoted(['--agent', f'{spec},search'])} "
            f"search proposes until {kind} answers."
        )


def _unreachable(kind: str, argument: str) -> str:
    """Return why an agent cannot be reached, as a sentence, or ''. Raises AgentFailed for the same."""
    if kind == "ollama":
        if full(argument) not in {full(model.name) for model in models()}:
            return f"Ollama at {to_ollama().words} has no model {argument}. `ollama pull {argument}` installs it."
    elif kind == "openai":
        way = to_openai()
        if why := unanswered(way):
            return f"Nothing answers at {way.words} ({why}). OPENAI_BASE_URL names another place."
    elif kind == "command":
        return _no_program(argument)
    return ""


def _no_program(command: str) -> str:
    """Return why a command line cannot be started, as a sentence, or ''. Paths are not looked up: they may be relative to the copy."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        return f"The command {command!r} cannot be read ({error})."
    if not words:
        return "The agent command: needs a command line."
    return "" if "/" in words[0] or shutil.which(words[0]) else f"{words[0]} is not installed (not on PATH)."


def endpoint() -> tuple[str, bool]:
    """Return the endpoint that openai:MODEL would use, or why it cannot be used, and whether it can. Sends nothing."""
    try:
        way = to_openai()
        options(way)
    except AgentFailed as error:
        return str(error), False
    return f"endpoint {way.words}", True
