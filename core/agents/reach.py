"""What can be reached: models of an Ollama server, endpoints, command lines. And which agent a new run takes by itself."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
from collections.abc import Callable

from core import stats
from core.agents import registry
from core.agents.base import AgentFailed
from core.agents.chat import needs
from core.agents.models import Installed, address, full, installed, pick, sized
from core.agents.presets import PRESETS
from core.project import Project

GOOD = "qwen2.5-coder:7b"  # what is offered where nothing is installed
SMALL = "qwen2.5-coder:1.5b"


def models(host: str | None = None) -> list[Installed]:
    """The models of the Ollama server. Raises AgentFailed when there is none."""
    return asyncio.run(installed(host or address()))


def memory() -> int:
    """Bytes of the largest GPU, 0 without one."""
    return max(stats.gpu_memory(), default=0)


def tokens(project: Project, context: int | None = None) -> int:
    """The context that a model is given here: what the user said, else by train.py and program.md."""
    if given := registry.given(context):
        return given
    try:
        return sized(needs(project.train.read_text(encoding="utf-8"), project.program.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError):  # said by whoever needs them
        return sized(0)


def default(say: Callable[[str], None], tokens: int) -> str:
    """The agent of a new run for which none was named: a model of Ollama where one fits, else `search`. Says why."""
    try:
        found = models()
    except AgentFailed as error:
        if os.environ.get("OLLAMA_HOST"):
            say(f"{error} `search` proposes.")
        return "search"
    chosen = pick(found, memory(), tokens)
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


def missing(spec: str) -> list[str]:
    """The models that these agents name and the Ollama server has not; none when there is no server."""
    named = [part.partition(":")[2] for part in registry.parts(spec) if part.startswith("ollama:")]
    try:
        known = {full(model.name) for model in models()} if named else set()
    except AgentFailed:
        return []
    return [name for name in named if full(name) not in known]


def lines(tokens: int) -> list[str]:
    """One line for each agent that there could be."""
    found = ["search: always there"]
    try:
        every = models()
        chosen = pick(every, memory(), tokens)
        found.append(
            f"ollama at {address()}: {len(every)} models" + ("" if every else f"; `ollama pull {SMALL}` installs one")
        )
        for model in sorted(every, key=lambda m: m.name):
            mark = "  <- the default" if chosen and chosen[0].name == model.name else ""
            words = ", ".join(model.capabilities) or "capabilities unknown"
            size = f"{model.size / 1e9:.1f} GB, with {tokens} tokens {model.needs(tokens) / 1e9:.1f} GB"
            if model.elsewhere:
                size = "runs on another machine, never taken by itself"
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
