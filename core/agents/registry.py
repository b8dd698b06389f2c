"""Agents by name. A new one needs a row in `ENTRIES`."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.agents.base import Agent, AgentFailed
from core.agents.cli_tools.presets import PRESETS
from core.agents.team import Team, WithStandIn
from core.machine.project import UsageError
from core.model import Tenancy
from nanochat.contract import registry
from nanochat.contract.registry import Entry

Maker = Callable[[], Agent]
CONTEXT = "AUTORESEARCH_CONTEXT"  # environment variable: the context length of language models, in tokens
LEAST_CONTEXT = 1024


@dataclass(frozen=True)
class Setting:
    """Settings for agents. `context`: the context length of a language model in tokens, 0 to fit the task."""

    root: Path
    device: str
    tenancy: Tenancy
    context: int


Factory = Callable[[str, Setting], Maker]  # takes the text after the colon; raises UsageError


def parts(spec: str) -> list[str]:
    """Split a comma-separated list of agents. Commands may contain commas."""
    kinds = "|".join(re.escape(entry.kind + (":" if entry.has_argument else "")) for entry in ENTRIES)
    return [part.strip() for part in re.split(rf",(?=\s*(?:{kinds}))", spec)]


def check(
    spec: str, root: Path | None = None, device: str = "cpu", tenancy: Tenancy = "auto", context: int | None = None
) -> Maker:
    """Return a function that creates the agent, or several from a comma-separated list. Raises UsageError for unknown ones."""
    setting = Setting(root or Path.cwd(), device, tenancy, given(context))
    makers = [_one(part, setting) for part in parts(spec)]
    if len(makers) == 1:
        return makers[0]
    return lambda: Team([maker() for maker in makers])


def check_settings(spec: str) -> None:
    """Raise UsageError if the environment variables for a server that one of these agents needs are invalid.

    For agents that the user has just named. A run that is continued is not refused: `search` proposes instead and says why.
    """
    servers = [part for part in parts(spec) if part.startswith(("ollama:", "openai:"))]
    if not servers:
        return
    from core.agents.llm.connection import options, to_ollama, to_openai  # imported late: they import HTTP clients
    from core.agents.llm.openai import package

    for part in servers:
        try:
            if part.startswith("ollama:"):
                options(to_ollama())
            else:
                package()
                options(to_openai())
        except AgentFailed as error:
            raise UsageError(f"{error} Nothing was started.") from error


def given(context: int | None = None) -> int:
    """Return the context length from the option or the environment, in tokens; 0 for none. Raises UsageError."""
    words = str(context) if context is not None else os.environ.get(CONTEXT, "").strip()
    if not words:
        return 0
    if not words.isdecimal() or int(words) < LEAST_CONTEXT:
        name = "--context" if context is not None else CONTEXT
        raise UsageError(f"{name} is {words!r}; give tokens, {LEAST_CONTEXT} or more. Nothing was started.")
    return int(words)


def _one(spec: str, setting: Setting) -> Maker:
    entry = registry.find(spec, ENTRIES)
    if entry is None:
        raise UsageError(f"There is no agent {spec!r}. Nothing was started. These are known:{registry.table(ENTRIES)}")
    factory, argument = entry
    return factory(argument, setting)


# -- creating agents; their modules are imported late, so that commands without an agent start quickly ----------------


def _ollama(model: str, setting: Setting) -> Agent:
    from core.agents.llm.chat import LanguageModel
    from core.agents.llm.connection import to_ollama
    from core.agents.llm.ollama.agent import Ollama
    from nanochat.contract.route import here

    tenancy = setting.tenancy
    if tenancy == "auto":
        try:
            local = here(to_ollama().server)
        except AgentFailed:  # reported with the first proposal, which `search` then makes
            local = False
        tenancy = "unload" if setting.device == "cuda" and local else "coresident"
    shared = tenancy == "unload"
    chat = Ollama(model, on_gpu=shared, no_gpu=tenancy == "cpu", context=setting.context)
    return WithStandIn(LanguageModel(chat, exclusive=shared), _search())


def _python(path: Path) -> Agent:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    try:
        if spec is None or spec.loader is None:
            raise ImportError("it is not a Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        agent: Agent = module.make()
    except Exception as error:
        moved = " docs/agents.md shows where modules are." if isinstance(error, ImportError) else ""
        raise UsageError(
            f"The agent in {path} cannot be made ({type(error).__name__}: {error}). Nothing was started.{moved}"
        ) from error
    return agent


def _openai(model: str, setting: Setting) -> Agent:
    from core.agents.llm.chat import LanguageModel
    from core.agents.llm.openai import OpenAI

    try:
        chat = OpenAI(model, context=setting.context)
    except AgentFailed as error:
        raise UsageError(f"{error} Nothing was started.") from error
    return WithStandIn(LanguageModel(chat), _search())


def _command(name: str, command: str, setting: Setting) -> Agent:
    from core.agents.cli_tools.command import Command

    return Command(name, command, setting.root)


def _script_maker(argument: str, setting: Setting) -> Maker:
    path = Path(argument).expanduser().resolve()
    if not path.is_file():
        raise UsageError(f"The script {path} does not exist. Nothing was started.")
    return lambda: _script(path)


def _python_maker(argument: str, setting: Setting) -> Maker:
    path = Path(argument).expanduser().resolve()
    if not path.is_file():
        raise UsageError(f"The agent file {path} does not exist. Nothing was started.")
    return lambda: _python(path)


def _preset_entry(name: str, command: str) -> Entry[Factory]:
    def maker(argument: str, setting: Setting) -> Maker:
        if shutil.which(shlex.split(command)[0]) is None:
            raise UsageError(
                f"{name} is not installed (not on PATH). Nothing was started. --agent search needs nothing."
            )
        return lambda: _command(name, command, setting)

    return Entry(name, "its command line, with its flags", maker)


def _search() -> Agent:
    from core.agents.search.agent import Search

    return Search()


def _script(path: Path) -> Agent:
    from core.agents.script import Script

    try:
        return Script(path)
    except ValueError as error:
        raise UsageError(f"{error} Nothing was started.") from error


ENTRIES: tuple[Entry[Factory], ...] = (
    Entry(
        "search",
        "no language model: a list of known edits, the constants of train.py, and a statistical model of their effects",
        lambda _, setting: _search,
    ),
    Entry("script:FILE", "a file of proposals, one JSON object a line", _script_maker),
    Entry(
        "ollama:MODEL",
        "a model of an Ollama server; `search` stands in when it fails",
        lambda model, setting: lambda: _ollama(model, setting),
    ),
    Entry(
        "openai:MODEL",
        "any OpenAI-compatible endpoint, by OPENAI_BASE_URL and OPENAI_API_KEY",
        lambda model, setting: lambda: _openai(model, setting),
    ),
    Entry(
        "command:CMD",
        "any coding agent's command line in a scratch copy of the repository",
        lambda line, setting: lambda: _command(line, line, setting),
    ),
    Entry("python:FILE", "your own: a file with `make()` that returns an agent (docs/agents.md)", _python_maker),
    *(_preset_entry(name, command) for name, command in PRESETS.items()),
)
