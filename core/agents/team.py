"""Agents that consist of other agents: a team of agents, and a stand-in for an agent that fails."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

from msgspec.structs import replace

from core.agents import shares
from core.agents.base import Agent, AgentFailed, CharterSummary, Context, Exhausted, LessonsLearned, checked
from core.agents.hooks import Reflects, ShowsPrompt, SummarizesCharter, is_exclusive
from core.agents.llm.chat import Unusable
from core.agents.llm.prompt import Message
from core.model import NO_COST, Proposal
from core.text import sanitize_line
from core.waits import GrowingWait

BACKOFF_S = (5.0, 300.0)  # the first and the longest wait before a failed agent is asked again
COST = 20.0  # the wait is at most this multiple of the time that the failure took
# And at least this multiple, up to an hour: asking a server that never answers takes at most a quarter of the time.
LEAST, LONGEST_S = 3.0, 3600.0

Clock = Callable[[], float]
T = TypeVar("T")


class _Rest:
    """How long a failed agent is not asked, and why. After an unusable answer it is asked again at once."""

    def __init__(self, clock: Clock) -> None:
        self.why = ""
        self._clock, self._asked, self._wait = clock, 0.0, GrowingWait(*BACKOFF_S)

    @property
    def left_s(self) -> float:
        return max(0.0, self._wait.until - self._clock())

    async def answer(self, agent: Agent, ask: Callable[[], Awaitable[T]]) -> T:
        """Return an answer of the agent. Raises AgentFailed at once while it rests, and any error of the agent, which begins a rest."""
        if left_s := self.left_s:
            raise AgentFailed(self.why, wait_s=left_s)
        asked = self._clock()
        try:
            answer = await ask()
        except Exhausted:
            raise
        except Exception as error:
            self._failed(agent, error, self._clock() - asked)
            raise
        self._wait.succeeded()
        return answer

    def _failed(self, agent: Agent, error: Exception, took_s: float) -> None:
        """Note an exception of an agent, which may also be a bug in it, and set the wait."""
        if isinstance(error, AgentFailed):
            self.why = str(error)
        else:
            self.why = f"The agent {agent.name} failed: {type(error).__name__}: {sanitize_line(str(error), 200)}"
        if isinstance(error, Unusable):
            return
        now = self._clock()
        self._wait.failed(now, least_s=min(LEAST * took_s, LONGEST_S), most_s=max(COST * took_s, BACKOFF_S[0]))
        if isinstance(error, AgentFailed):
            self._wait.put_off(now + error.wait_s)


async def _proposed(agent: Agent, rest: _Rest, context: Context) -> Proposal:
    """Return a proposal of an agent that does not rest. Raises Exhausted, and any error of the agent."""

    async def ask() -> Proposal:
        return checked(Proposal, await agent.propose(context))

    return await rest.answer(agent, ask)


async def _first(
    asks: Iterable[tuple[Agent, _Rest, Callable[[], Awaitable[T]]]], has_words: Callable[[T], bool]
) -> T | None:
    """Return the first answer that has words, or else the last one. None if there is no agent to ask.

    If an agent has failed and no answer has words, its error is raised.
    """
    last, failure = None, None
    for agent, rest, ask in asks:
        try:
            last = await rest.answer(agent, ask) or last
        except Exception as error:
            failure = error
        if last is not None and has_words(last):
            return last
    if failure is not None:
        raise failure
    return last


async def _understood(members: Iterable[tuple[Agent, _Rest]], charter: str) -> CharterSummary:
    """Return the first restatement of a charter that is not empty. Raises as `_first`."""
    asks = (
        (agent, rest, partial(agent.understand, charter))
        for agent, rest in members
        if isinstance(agent, SummarizesCharter)
    )
    found = await _first(asks, lambda summary: bool(CharterSummary.of(summary).words))
    return CharterSummary.of(found) if found is not None else CharterSummary()


async def _prompt_for(agents: Sequence[Agent], context: Context) -> tuple[list[Message], str] | None:
    """Return the prompt of the first agent that asks a model, or None if no agent does. Raises AgentFailed."""
    asks = next((agent for agent in agents if isinstance(agent, ShowsPrompt)), None)
    return None if asks is None else await asks.prompt_for(context)


async def _reflected(members: Iterable[tuple[Agent, _Rest]], context: Context) -> LessonsLearned | None:
    """Return the first lessons that are not empty, or None if no agent asks a model. Raises as `_first`."""
    asks = ((agent, rest, partial(agent.reflect, context)) for agent, rest in members if isinstance(agent, Reflects))
    return await _first(asks, lambda learned: learned is not None and bool(learned.lines))


async def _release(agents: Sequence[Agent]) -> None:
    """Release all agents. Raises AgentFailed with all failures."""
    wrong = []
    for agent in agents:
        try:
            await agent.release()
        except Exception as error:
            wrong.append(str(error) or type(error).__name__)
    if wrong:
        raise AgentFailed(" ".join(wrong))


class WithStandIn:
    """Asks one agent, and a stand-in while that one fails. A proposal of the stand-in says why. The first is asked again later."""

    def __init__(self, agent: Agent, stand_in: Agent, clock: Clock = time.monotonic) -> None:
        self.name, self._agent, self._stand_in = agent.name, agent, stand_in
        self.parts = (agent, stand_in)
        self.exclusive = is_exclusive(agent)
        self._rest = _Rest(clock)

    async def propose(self, context: Context) -> Proposal:
        try:
            return await _proposed(self._agent, self._rest, context)
        except Exhausted:
            raise
        except Exception as error:
            cost = error.cost if isinstance(error, AgentFailed) else NO_COST
        proposal = await self._stand_in.propose(context)
        notes = replace(proposal.notes.updated(cost), instead=self._agent.name, why=self._rest.why)
        return replace(proposal, agent=self._stand_in.name, notes=notes)

    async def understand(self, charter: str) -> CharterSummary:
        return await _understood([(self._agent, self._rest)], charter)

    async def reflect(self, context: Context) -> LessonsLearned | None:
        return await _reflected([(self._agent, self._rest)], context)

    async def prompt_for(self, context: Context) -> tuple[list[Message], str] | None:
        return await _prompt_for([self._agent], context)

    async def release(self) -> None:
        await _release(self.parts)


class Team:
    """Asks several agents: in turn at first, later those more often whose changes were kept (shares.py).

    If one is exhausted or fails, the next one is asked.
    """

    def __init__(self, agents: Sequence[Agent], clock: Clock = time.monotonic) -> None:
        self.parts = tuple(agents)
        self.name = ",".join(agent.name for agent in agents)
        self.exclusive = any(is_exclusive(agent) for agent in agents)
        self._rests = [_Rest(clock) for _ in agents]

    async def propose(self, context: Context) -> Proposal:
        """Ask the agents until one proposes.

        Raises:
            Exhausted: All agents are exhausted.
            AgentFailed: None of the others can propose now.
        """
        failed: list[tuple[Agent, _Rest]] = []
        for index in shares.order([agent.name for agent in self.parts], context):
            agent, rest = self.parts[index], self._rests[index]
            try:
                return _signed(await _proposed(agent, rest, context), agent, failed)
            except Exhausted:
                continue
            except Exception:
                pass  # `rest` has its reason
            failed.append((agent, rest))
        if not failed:
            raise Exhausted
        raise AgentFailed(" ".join(rest.why for _, rest in failed), wait_s=min(rest.left_s for _, rest in failed))

    async def understand(self, charter: str) -> CharterSummary:
        return await _understood(zip(self.parts, self._rests, strict=True), charter)

    async def reflect(self, context: Context) -> LessonsLearned | None:
        return await _reflected(zip(self.parts, self._rests, strict=True), context)

    async def prompt_for(self, context: Context) -> tuple[list[Message], str] | None:
        return await _prompt_for(self.parts, context)

    async def release(self) -> None:
        await _release(self.parts)


def _signed(proposal: Proposal, agent: Agent, failed: Sequence[tuple[Agent, _Rest]]) -> Proposal:
    """Return the proposal with the name of its agent, and of the failed agent whose turn it was."""
    notes = proposal.notes
    if failed and not notes.instead:
        first, rest = failed[0]
        notes = replace(notes, instead=first.name, why=rest.why)
    return replace(proposal, agent=proposal.agent or agent.name, notes=notes)
