"""Several agents, and a stand-in for one that fails: who is asked, and who is left alone for how long."""

from __future__ import annotations

import itertools
from typing import Never

import pytest

from core.agents.base import AgentFailed, CharterSummary, Context, LessonsLearned
from core.agents.search.agent import Search
from core.agents.team import Team, WithStandIn
from core.model import Proposal
from tests.core.agents.llm.test_chat import context, past


class Fails:
    """An agent that raises what it is given."""

    def __init__(self, error: Exception, name: str = "broken") -> None:
        self.name, self.error, self.asked = name, error, 0

    async def propose(self, context: Context) -> Proposal:
        self.asked += 1
        raise self.error

    async def release(self) -> None:
        raise self.error


async def test_whatever_an_agent_raises_another_stands_in_and_the_row_says_why() -> None:
    both = WithStandIn(Fails(RecursionError("maximum recursion depth exceeded")), Search())
    found = await both.propose(context())
    assert found.agent == "search" and found.notes.instead == "broken"
    assert found.notes.why == "The agent broken failed: RecursionError: maximum recursion depth exceeded"


class Slow(Fails):
    """An agent whose failures take time."""

    def __init__(self, now: list[float], takes_s: float) -> None:
        super().__init__(AgentFailed("It does not answer."))
        self.now, self.takes_s, self.asked_at = now, takes_s, list[float]()

    async def fail(self) -> Never:
        self.asked_at.append(self.now[0])
        self.now[0] += self.takes_s
        raise self.error

    async def propose(self, context: Context) -> Proposal:
        return await self.fail()

    async def understand(self, charter: str) -> CharterSummary:
        return await self.fail()

    async def reflect(self, context: Context) -> LessonsLearned | None:
        return await self.fail()


class Other(Fails):
    """An agent that proposes."""

    async def propose(self, context: Context) -> Proposal:
        return Proposal(hypothesis="something", source=context.source)


@pytest.mark.parametrize(
    ("takes_s", "first_s", "longest_s"),
    [(0.0, 5.0, 5.0), (2.0, 6.0, 40.0), (60.0, 180.0, 300.0), (600.0, 1800.0, 1800.0), (3000.0, 3600.0, 3600.0)],
)
async def test_the_dearer_its_failures_the_longer_an_agent_is_left_alone(
    takes_s: float, first_s: float, longest_s: float
) -> None:
    now = [0.0]
    slow = Slow(now, takes_s)
    both = WithStandIn(slow, Other(AgentFailed(""), "other"), lambda: now[0])
    while now[0] < 15_000:
        assert (await both.propose(context())).agent == "other"
        now[0] += 1
    rests = [later - earlier - takes_s for earlier, later in itertools.pairwise(slow.asked_at)]
    assert rests[0] == first_s and max(rests) == rests[-1] == longest_s


@pytest.mark.parametrize("alone", [True, False])
async def test_one_that_rests_is_asked_for_nothing_else_either(alone: bool) -> None:
    """A server that never answers would otherwise cost as much for each restatement and each reflection."""
    now = [0.0]
    slow, other = Slow(now, 600.0), Other(AgentFailed(""), "other")
    agent = WithStandIn(slow, other, lambda: now[0]) if alone else Team([slow, other], lambda: now[0])
    for _ in range(2):
        with pytest.raises(AgentFailed, match="It does not answer"):
            await agent.understand("Lower val_bpb.")
        assert (await agent.propose(context())).agent == "other"
        with pytest.raises(AgentFailed, match="It does not answer"):
            await agent.reflect(context())
    assert now[0] == 600 and len(slow.asked_at) == 1


async def test_a_turn_is_passed_on_when_its_agent_fails_and_that_is_waited_for() -> None:
    now = [0.0]
    limited = Fails(AgentFailed("It is at its limit.", wait_s=7200), "claude")
    team = Team([limited, Search()], lambda: now[0])
    for number in (1, 2):
        found = await team.propose(context(tuple(past(i) for i in range(1, number))))
        assert found.agent == "search"
    assert found.notes.instead == "", "the second turn is its own"
    third = await team.propose(context((past(1), past(2))))
    assert limited.asked == 1 and third.notes.instead == "claude" and third.notes.why == "It is at its limit."
    now[0] = 7201
    await team.propose(context((past(1), past(2))))
    assert limited.asked == 2


async def test_turns_fail_only_when_all_do() -> None:
    team = Team([Fails(AgentFailed("One.", wait_s=50)), Fails(AgentFailed("Two.", wait_s=20))], lambda: 0.0)
    with pytest.raises(AgentFailed, match=r"One\. Two\.") as raised:
        await team.propose(context())
    assert raised.value.wait_s == 20
    with pytest.raises(AgentFailed, match=r"One\. Two\."):
        await team.release()
