"""Agents that consist of other agents: a team of agents, and a stand-in for an agent that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

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

Clock = Callable[[], float]


class _Rest:
    """How long a failed agent is not asked, and why. After an unusable answer it is asked again at once."""

    def __init__(self, clock: Clock) -> None:
        self.why = ""
        self._clock, self._asked, self._wait = clock, 0.0, GrowingWait(*BACKOFF_S)

    @property
    def left_s(self) -> float:
        return max(0.0, self._wait.until - self._clock())

    def asked(self) -> None:
        self._asked = self._clock()

    def worked(self) -> None:
        self._wait.succeeded()

    def failed(self, agent: Agent, error: Exception) -> None:
        """Note an exception of an agent, which may also be a bug in it, and set the wait."""
        if isinstance(error, AgentFailed):
            self.why = str(error)
        else:
            self.why = f"The agent {agent.name} failed: {type(error).__name__}: {sanitize_line(str(error), 200)}"
        if isinstance(error, Unusable):
            return
        dear = max(COST * (self._clock() - self._asked), BACKOFF_S[0])
        now = self._clock()
        self._wait.failed(now, most_s=dear)
        if isinstance(error, AgentFailed):
            self._wait.put_off(now + error.wait_s)


async def _understood(agents: Sequence[Agent], charter: str) -> CharterSummary:
    """Return the first restatement of a charter that is not empty. Raises AgentFailed."""
    summary = CharterSummary()
    for agent in agents:
        if (
            isinstance(agent, SummarizesCharter)
            and (summary := CharterSummary.of(await agent.understand(charter))).words
        ):
            break
    return summary


async def _prompt_for(agents: Sequence[Agent], context: Context) -> tuple[list[Message], str] | None:
    """Return the prompt of the first agent that asks a model, or None if no agent does. Raises AgentFailed."""
    asks = next((agent for agent in agents if isinstance(agent, ShowsPrompt)), None)
    return None if asks is None else await asks.prompt_for(context)


async def _reflected(agents: Sequence[Agent], context: Context) -> LessonsLearned | None:
    """Return the first lessons that are not empty, or None if no agent asks a model. Raises AgentFailed."""
    learned = None
    for agent in agents:
        if isinstance(agent, Reflects) and (learned := await agent.reflect(context) or learned) and learned.lines:
            break
    return learned


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
        cost = NO_COST
        if not self._rest.left_s:
            self._rest.asked()
            try:
                proposal = checked(Proposal, await self._agent.propose(context))
                self._rest.worked()
                return proposal
            except Exhausted:
                raise
            except Exception as error:
                self._rest.failed(self._agent, error)
                cost = error.cost if isinstance(error, AgentFailed) else NO_COST
        proposal = await self._stand_in.propose(context)
        notes = replace(proposal.notes.updated(cost), instead=self._agent.name, why=self._rest.why)
        return replace(proposal, agent=self._stand_in.name, notes=notes)

    async def understand(self, charter: str) -> CharterSummary:
        return await _understood([self._agent], charter)

    async def reflect(self, context: Context) -> LessonsLearned | None:
        return await _reflected([self._agent], context)

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
            if not rest.left_s:
                rest.asked()
                try:
                    proposal = checked(Proposal, await agent.propose(context))
                    rest.worked()
                    return _signed(proposal, agent, failed)
                except Exhausted:
                    continue
                except Exception as error:
                    rest.failed(agent, error)
            failed.append((agent, rest))
        if not failed:
            raise Exhausted
        raise AgentFailed(" ".join(rest.why for _, rest in failed), wait_s=min(rest.left_s for _, rest in failed))

    async def understand(self, charter: str) -> CharterSummary:
        return await _understood(self.parts, charter)

    async def reflect(self, context: Context) -> LessonsLearned | None:
        return await _reflected(self.parts, context)

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
