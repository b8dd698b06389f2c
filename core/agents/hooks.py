"""Optional methods and attributes of agents. Each is a protocol, and an agent may implement any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

from core.agents.base import Agent, CharterSummary, Context, LessonsLearned
from core.agents.llm.prompt import Message

TextCallback = Callable[[str], None]


def ignore(text: str) -> None:
    """Default callback; does nothing."""


@runtime_checkable
class Streams(Protocol):
    """Streams its answer, which the app shows."""

    on_text: TextCallback  # called with the whole text of the present answer so far


@runtime_checkable
class ReportsPhase(Protocol):
    """Reports what it is doing."""

    on_phase: TextCallback  # called with a few words when a phase begins, and with "" when it ends


@runtime_checkable
class GivesNotices(Protocol):
    """Reports notices for the journal."""

    on_notice: TextCallback  # called with a sentence


@runtime_checkable
class Composite(Protocol):
    """Consists of other agents."""

    parts: Sequence[Agent]


@runtime_checkable
class Exclusive(Protocol):
    """Uses the GPU that also trains. Nothing trains while it proposes, and `release` is awaited before training goes on."""

    exclusive: bool  # False: the agent does not use that GPU


@runtime_checkable
class Repeats(Protocol):
    """Decides whether it may propose changes that were tried before."""

    repeats: bool  # True: they are not rejected


@runtime_checkable
class Prepares(Protocol):
    """Gets the texts of the next prompt in advance, for example to choose a context length."""

    def expect(self, source: str, charter: str) -> None:
        """Take the train.py and the program.md of the next proposal."""
        ...


@runtime_checkable
class SummarizesCharter(Protocol):
    """Restates program.md in its own words, for the human."""

    async def understand(self, charter: str) -> CharterSummary | Iterable[str]:
        """Return the restatement as phrases, with or without its cost. Raises AgentFailed."""
        ...


@runtime_checkable
class Reflects(Protocol):
    """Writes lessons: what the experiments so far have taught."""

    async def reflect(self, context: Context) -> LessonsLearned | None:
        """Return the lessons and the order of `own_ideas`, or None if it asks no model. Raises AgentFailed."""
        ...


@runtime_checkable
class ShowsPrompt(Protocol):
    """Shows the prompt of its language model."""

    async def prompt_for(self, context: Context) -> tuple[list[Message], str] | None:
        """Return the messages and the answer format, or None if it asks no model. Raises AgentFailed."""
        ...


def members(agent: Agent) -> Iterator[Agent]:
    """Yield an agent and all agents that it consists of."""
    yield agent
    if isinstance(agent, Composite):
        for part in agent.parts:
            yield from members(part)


def attach_callbacks(agent: Agent, on_text: TextCallback, on_phase: TextCallback, on_notice: TextCallback) -> None:
    """Set the callbacks on the agent and its members that have these attributes."""
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
