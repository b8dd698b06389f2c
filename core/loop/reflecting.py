"""Asks a language model for lessons after every ten verdicts, when neither a training nor a proposal has to wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from core.agents.base import AgentFailed, LessonsLearned, checked
from core.agents.hooks import Reflects
from core.loop.proposals import Proposer
from core.record import events as ev
from core.record.backlog import plain
from core.record.journal import JournalError
from core.run.active import ActiveRun
from core.text import sanitize_line

EVERY = 10  # verdicts between two requests
TRIES = 3  # requests that are given up for a proposal, before the next ten verdicts are waited for
LONGEST_S = 120.0  # for a model that shares the GPU: nothing trains meanwhile
MOST_LINES, LONGEST_LINE = 5, 200  # as an agent of one's own may return more


class Reflecting:
    """Asks for lessons in a call of its own. A failure is recorded with its reason, and the run goes on.

    Args:
        active: The run.
        proposer: Has the agent, and knows what it is told.
        failed: Called if the journal cannot be written.
    """

    def __init__(self, active: ActiveRun, proposer: Proposer, failed: Callable[[Exception], None]) -> None:
        self._active, self._proposer, self._failed = active, proposer, failed
        self._task: asyncio.Task[None] | None = None
        self._given_up = 0
        self._asks_model = isinstance(proposer.agent, Reflects)

    @property
    def _due(self) -> bool:
        """Whether there are EVERY more verdicts than at the last request."""
        state = self._active.state
        return self._asks_model and state.judged // EVERY > state.lessons_at // EVERY

    def start(self) -> None:
        """Begin to ask if lessons are due. Call it while something trains and no proposal is wanted."""
        if self._task is None and self._due:
            self._task = asyncio.create_task(self._ask(None))

    async def stop(self) -> None:
        """Give up the request, since the agent is needed for a proposal. After TRIES the next verdicts are waited for."""
        if not await self.close():
            return
        self._given_up += 1
        if self._given_up >= TRIES:
            self._record(ev.Lessons(problem=f"{TRIES} times there was no time for them between two proposals"))

    async def close(self) -> bool:
        """End the request. Returns whether there was one."""
        task, self._task = self._task, None
        if task is None or task.done():
            return False
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return True

    async def ask_now(self) -> None:
        """Ask if lessons are due, and wait for the answer. For a model that must be released before trainings go on."""
        if self._due:
            await self._ask(LONGEST_S)

    async def _ask(self, longest_s: float | None) -> None:
        limit = asyncio.timeout(longest_s)
        try:
            async with limit:
                event = await self._answer()
        except TimeoutError:  # of this limit, or of one of the agent's own
            late = f"there was no answer within {longest_s or 0:g} s"
            event = ev.Lessons(problem=late if limit.expired() else "the agent timed out")
        except AgentFailed as error:
            event = ev.Lessons(problem=str(error), cost=error.cost)
        except Exception as error:  # a bug in an agent must not end the run
            event = ev.Lessons(problem=f"{type(error).__name__}: {error}")
        self._task = None
        if event is not None:
            self._record(event)

    async def _answer(self) -> ev.Lessons | None:
        """Ask the agent. Returns what to record, or None if it asks no model; then it is not asked again."""
        agent = self._proposer.agent
        assert isinstance(agent, Reflects)
        context = self._proposer.context(self._active)
        given = await agent.reflect(context)
        if given is None:
            self._asks_model = False
            return None
        learned = checked(LessonsLearned, given)
        lines = tuple(text for line in learned.lines if (text := sanitize_line(line, LONGEST_LINE)))[:MOST_LINES]
        problem = "" if lines else "the answer said nothing usable"
        order = tuple(dict.fromkeys(idea for idea in map(plain, learned.order) if idea in context.own_ideas))
        if order == context.own_ideas[: len(order)]:
            order = ()
        return ev.Lessons(lines=lines, problem=problem, cost=learned.cost, order=order)

    def _record(self, event: ev.Lessons) -> None:
        self._given_up = 0
        who, judged = event.cost.model or self._proposer.agent.name, self._active.state.judged
        try:
            self._active.record(replace(event, agent=who, judged=judged))
        except JournalError as error:
            self._failed(error)
            return
        if event.order:
            self._active.backlog.order(event.order, self._active.state)
        self._active.publish()  # they stand in the notebook
