"""The agents that can be used here, for the command `agents`: as data and as text."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator

from core.agents import reach, registry
from core.agents.base import AgentFailed
from core.agents.cli_tools.presets import PRESETS
from core.agents.llm.connection import to_ollama
from core.agents.llm.ollama.models import Installed, pick
from core.machine.project import Project
from core.reporting.phrases import count
from nanochat.contract.value import Data

ALWAYS = "always there"  # where an agent is that needs nothing


class Listed(Data, frozen=True, kw_only=True):
    """An agent. The figures are those of a model of Ollama; None for other agents, and where the server does not tell them.

    Attributes:
        agent: Its name for `--agent`.
        available: Whether it can be used. The endpoint of `openai:MODEL` is not asked, only its settings are read.
        words: Where it is, or why it is not available.
        size_bytes: Size of the weights.
        needed_bytes: Memory for the weights and the cache of a context of `context_tokens` of `Agents`.
        context_tokens: The longest context.
        capabilities: What the model can do, such as "tools".
        elsewhere: Whether it runs on another machine than the server.
    """

    agent: str
    available: bool
    words: str = ""
    size_bytes: int | None = None
    needed_bytes: int | None = None
    context_tokens: int | None = None
    capabilities: tuple[str, ...] = ()
    elsewhere: bool = False


class Agents(Data, frozen=True, kw_only=True):
    """What `agents --json` prints.

    Attributes:
        default: The agents of a new run, as `--agent` takes them.
        context_tokens: The context that a model gets, in tokens.
        ollama: Where the Ollama server is and how many models it has, or why it cannot be reached.
        agents: All agents.
    """

    default: str
    context_tokens: int
    ollama: str
    agents: tuple[Listed, ...]


def survey(project: Project) -> Agents:
    """Return the agents that can be used here, and those that cannot."""
    tokens = reach.tokens(project)
    models: list[Installed] = []
    try:
        models = sorted(reach.models(), key=lambda model: model.name)
        server = f"at {to_ollama().words}: {count(len(models), 'model')}"
        server += "" if models else f"; `ollama pull {reach.SMALL}` installs one"
    except AgentFailed as error:
        server = f": {error}"
    chosen = pick(models, reach.memory(), tokens)
    return Agents(
        default=f"ollama:{chosen[0].name},search" if chosen is not None else "search",
        context_tokens=tokens,
        ollama=server.removeprefix(": "),
        agents=(
            *_built_in(),
            *(_of_model(model, tokens) for model in models),
            _endpoint(),
            *_command_lines(),
        ),
    )


def lines(agents: Agents) -> Iterator[str]:
    """Yield the same as text, a line for each agent."""
    yield from (f"{listed.agent}: {listed.words}" for listed in agents.agents if listed.words == ALWAYS)
    yield f"ollama {agents.ollama}" if agents.ollama.startswith("at ") else f"ollama: {agents.ollama}"
    for listed in agents.agents:
        if listed.words == ALWAYS:
            continue
        if not listed.agent.startswith("ollama:"):
            yield f"{listed.agent.partition(':')[0]}: {listed.words}"
            continue
        size = "runs on another machine, never the default"
        if not listed.elsewhere:
            needed = f"{(listed.needed_bytes or 0) / 1e9:.1f} GB with a context of {agents.context_tokens} tokens"
            size = f"{(listed.size_bytes or 0) / 1e9:.1f} GB; {needed}"
        capabilities = ", ".join(listed.capabilities) or "capabilities unknown"
        mark = "  <- the default" if agents.default.partition(",")[0] == listed.agent else ""
        yield f"  {listed.agent}: {size}, context {listed.context_tokens or 'unknown'}, {capabilities}{mark}"


def _built_in() -> Iterator[Listed]:
    for entry in registry.ENTRIES:
        if not entry.has_argument and entry.name not in PRESETS:
            yield Listed(agent=entry.name, available=True, words=ALWAYS)


def _of_model(model: Installed, tokens: int) -> Listed:
    return Listed(
        agent=f"ollama:{model.name}",
        available=True,
        size_bytes=None if model.elsewhere else model.size,
        needed_bytes=None if model.elsewhere else model.needs(tokens),
        context_tokens=model.context or None,
        capabilities=model.capabilities,
        elsewhere=model.elsewhere,
    )


def _endpoint() -> Listed:
    words, available = reach.endpoint()
    return Listed(agent="openai:MODEL", available=available, words=words)


def _command_lines() -> Iterator[Listed]:
    for name, command in PRESETS.items():
        path = shutil.which(shlex.split(command)[0])
        yield Listed(agent=name, available=path is not None, words=path or "not installed")
