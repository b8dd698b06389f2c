"""What an agent may have besides `propose` and `release`. Each is a protocol, and an agent has any of them or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from core.agents.base import Agent, CharterSummary, Context
from core.agents.llm.prompt import Message

TextCallback = Callable[[str], None]


def ignore(text: str) -> None:
    """Default callback; does nothing."""


@runtime_checkable
class Streams(Protocol):
    """Passes on its words while it thinks. The app shows them."""

    on_text: TextCallback  # called with all words of the present answer so far


@runtime_checkable
class ReportsPhase(Protocol):
    """Reports what it is doing."""

    on_phase: TextCallback  # called with a few words, and with "" when that is over


@runtime_checkable
class GivesNotices(Protocol):
    """Writes notices to the journal."""

    on_notice: TextCallback


@runtime_checkable
class Composite(Protocol):
    """Is made of other agents."""

    parts: Sequence[Agent]


@runtime_checkable
class Exclusive(Protocol):
    """May use the GPU that trains: then nothing trains while it proposes, and `release` is awaited before anything does."""

    exclusive: bool


@runtime_checkable
class Repeats(Protocol):
    """May propose what was tried before, as a list of proposals does."""

    repeats: bool


@runtime_checkable
class Prepares(Protocol):
    """Wants to know in advance what it will have to read."""

    def expect(self, source: str, charter: str) -> None: ...


@runtime_checkable
class SummarizesCharter(Protocol):
    """Restates program.md in its own words, for the human to see. Raises AgentFailed."""

    async def understand(self, charter: str) -> CharterSummary | Iterable[str]: ...


@runtime_checkable
class ShowsPrompt(Protocol):
    """Returns what its model would be sent, and the form of answer; None where it asks no model. Raises AgentFailed."""

    async def prompt_for(self, context: Context) -> tuple[list[Message], str] | None: ...


def members(agent: Agent) -> Iterator[Agent]:
    """An agent, and where it is made of others, those."""
    yield agent
    if isinstance(agent, Composite):
        for part in agent.parts:
            yield from members(part)


def attach_callbacks(agent: Agent, on_text: TextCallback, on_phase: TextCallback, on_notice: TextCallback) -> None:
    """Set the callbacks on the agent and its members, where they have a place for them."""
    for member in members(agent):
        if isinstance(member, Streams):
            member.on_text = on_text
        if isinstance(member, ReportsPhase):
            member.on_phase = on_phase
        if isinstance(member, GivesNotices):
            member.on_notice = on_notice


def is_exclusive(agent: Agent) -> bool:
    return isinstance(agent, Exclusive) and agent.exclusive


def may_repeat(agent: Agent) -> bool:
    return isinstance(agent, Repeats) and agent.repeats
