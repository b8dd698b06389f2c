"""Agents made of agents: taking turns, and a stand-in when one fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from core.agents.base import Agent, AgentFailed, Context, Exhausted, Understood
from core.agents.chat import Hear, Unusable
from core.agents.prompt import Message
from core.model import Proposal

BACKOFF_S = (5.0, 300.0)  # before a server that did not answer is asked again


async def _understood(agents: Sequence[Agent], charter: str) -> Understood:
    """What the first says that can restate a charter. Raises AgentFailed."""
    found = Understood()
    for agent in agents:
        restate = getattr(agent, "understand", None)
        if restate is not None and (found := Understood.of(await restate(charter))).words:
            break
    return found


async def _told(agents: Sequence[Agent], context: Context) -> tuple[list[Message], str] | None:
    """What the first that asks a model would tell it; None where none does. Raises AgentFailed."""
    tell = next((tell for agent in agents if (tell := getattr(agent, "told", None)) is not None), None)
    return None if tell is None else await tell(context)


class WithStandIn:
    """Asks one agent, and another when that fails; each proposal says whose it is and why. The first is asked again later."""

    def __init__(self, agent: Agent, stand_in: Agent, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self._agent, self._stand_in, self._clock = agent.name, agent, stand_in, clock
        self.exclusive = bool(getattr(agent, "exclusive", False))
        self._ask_at, self._wait_s, self._why = 0.0, 0.0, ""

    @property
    def hear(self) -> Hear:
        return getattr(self._agent, "hear", lambda text: None)

    @hear.setter
    def hear(self, hear: Hear) -> None:
        if hasattr(self._agent, "hear"):
            self._agent.hear = hear

    async def propose(self, context: Context) -> Proposal:
        meta = {}
        if self._clock() >= self._ask_at:
            try:
                proposal = await self._agent.propose(context)
                self._wait_s = 0.0
                return proposal
            except Unusable as error:  # it answers: there is no reason to wait
                self._why, meta = str(error), error.meta
            except AgentFailed as error:
                self._why, meta = str(error), error.meta
                self._wait_s = min(max(2 * self._wait_s, BACKOFF_S[0]), BACKOFF_S[1])
                self._ask_at = self._clock() + self._wait_s
        proposal = await self._stand_in.propose(context)
        why = {**meta, "instead": self._agent.name, "why": self._why}
        return proposal.model_copy(update={"agent": self._stand_in.name, "meta": {**proposal.meta, **why}})

    async def understand(self, charter: str) -> Understood:
        return await _understood([self._agent], charter)

    async def told(self, context: Context) -> tuple[list[Message], str] | None:
        return await _told([self._agent], context)

    async def release(self) -> None:
        await self._agent.release()
        await self._stand_in.release()


class Turns:
    """Agents in turn, by the number of the experiment; one that has nothing left gives its turn away."""

    def __init__(self, agents: Sequence[Agent]) -> None:
        self._agents = list(agents)
        self.name = ",".join(agent.name for agent in agents)
        self.exclusive = any(getattr(agent, "exclusive", False) for agent in agents)

    @property
    def hear(self) -> Hear:
        return lambda text: None

    @hear.setter
    def hear(self, hear: Hear) -> None:
        for agent in self._agents:
            if hasattr(agent, "hear"):
                agent.hear = hear

    async def propose(self, context: Context) -> Proposal:
        """Raises Exhausted when all are."""
        for turn in range(len(self._agents)):
            agent = self._agents[(context.number - 1 + turn) % len(self._agents)]
            try:
                proposal = await agent.propose(context)
            except Exhausted:
                continue
            return proposal.model_copy(update={"agent": proposal.agent or agent.name})
        raise Exhausted

    async def understand(self, charter: str) -> Understood:
        return await _understood(self._agents, charter)

    async def told(self, context: Context) -> tuple[list[Message], str] | None:
        return await _told(self._agents, context)

    async def release(self) -> None:
        for agent in self._agents:
            await agent.release()
