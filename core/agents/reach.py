"""What can be reached: models of an Ollama server, endpoints, command lines. And which agent a new run takes by itself."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
from collections.abc import Callable

from core import stats
from core.agents.base import AgentFailed
from core.agents.ollama import LEAST, Installed, address, installed, pick
from core.agents.presets import PRESETS

GOOD = "qwen2.5-coder:7b"  # what is offered where nothing is installed
SMALL = "qwen2.5-coder:1.5b"


def models(host: str | None = None) -> list[Installed]:
    """The models of the Ollama server. Raises AgentFailed when there is none."""
    return asyncio.run(installed(host or address()))


def memory() -> int:
    """Bytes of the largest GPU, 0 without one."""
    return max(stats.gpu_memory(), default=0)


def default(say: Callable[[str], None]) -> str:
    """The agent of a new run for which none was named: a model of Ollama where one fits, else `search`. Says why."""
    try:
        found = models()
    except AgentFailed:
        return "search"
    chosen = pick(found, memory())
    if chosen is None:
        say(
            f"Ollama answers at {address()}, but none of its {len(found)} models fits here; `search` proposes. --agent ollama:MODEL insists."
        )
        return "search"
    say(f"Agent {chosen[1]}.")
    return f"ollama:{chosen[0].name}"


def offer() -> str | None:
    """A model to pull where a server runs without any; None when there is no server, or it has some."""
    try:
        return None if models() else (GOOD if memory() > 8e9 else SMALL)
    except AgentFailed:
        return None


def lines() -> list[str]:
    """One line for each agent that there could be."""
    found = ["search: always there"]
    try:
        every = models()
        chosen = pick(every, memory())
        found.append(
            f"ollama at {address()}: {len(every)} models" + ("" if every else f"; `ollama pull {SMALL}` installs one")
        )
        for model in sorted(every, key=lambda m: m.name):
            mark = "  <- the default" if chosen and chosen[0].name == model.name else ""
            words = ", ".join(model.capabilities) or "capabilities unknown"
            size = f"{model.size / 1e9:.1f} GB, with {LEAST} tokens {model.needs(LEAST) / 1e9:.1f} GB"
            found.append(f"  ollama:{model.name}: {size}, context {model.context or 'unknown'}, {words}{mark}")
    except AgentFailed as error:
        found.append(f"ollama: {error}")
    base = os.environ.get("OPENAI_BASE_URL")
    known = base or ("api.openai.com" if os.environ.get("OPENAI_API_KEY") else "")
    found.append(f"openai: {f'endpoint {known}' if known else 'neither OPENAI_API_KEY nor OPENAI_BASE_URL is set'}")
    for name, command in PRESETS.items():
        program = shlex.split(command)[0]
        found.append(f"{name}: {shutil.which(program) or 'not installed'}")
    return found
