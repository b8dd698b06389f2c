"""What an agent returns is looked at before anything is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.agents.base import AgentFailed, CharterSummary, Context, Exhausted, checked
from core.agents.team import Team
from core.model import Edit, Notes, Proposal


def test_a_proposal_passes_as_it_is() -> None:
    proposal = Proposal(
        hypothesis="h", edits=(Edit(search="a", replace="b"),), notes=Notes(knobs={"LR": 0.1}), agent="x"
    )
    assert checked(Proposal, proposal) == proposal


@pytest.mark.parametrize(
    "given",
    [None, "words", {"edits": []}, Proposal(hypothesis=3), Proposal(hypothesis="h", edits=("a",)),  # type: ignore[arg-type]
     Proposal(hypothesis="h", notes=Notes(own={"file": Path("x")})), Proposal(hypothesis="\ud800"), object()],
)  # fmt: skip
def test_an_invalid_proposal_raises_agent_failed(given: object) -> None:
    with pytest.raises(AgentFailed, match=r"is not a Proposal \(.+\)\.$"):
        checked(Proposal, given)


@pytest.mark.parametrize(
    "given",
    [None, 3, ["aim", 3], ["aim", None], CharterSummary(words=(3,)), CharterSummary(cost="x")],  # type: ignore[arg-type]
)
def test_an_invalid_restatement_never_reaches_the_journal(given: object) -> None:
    with pytest.raises(AgentFailed):
        CharterSummary.of(given)  # type: ignore[arg-type]
    assert CharterSummary.of(["aim: low"]).words == ("aim: low",)


class Sloppy:
    name = "sloppy"

    async def propose(self, context: Context) -> Proposal:
        return Proposal(hypothesis=None)  # type: ignore[arg-type]

    async def release(self) -> None:
        pass


class Sound:
    name = "sound"

    async def propose(self, context: Context) -> Proposal:
        return Proposal(hypothesis="Sound.", source="x = 1")

    async def release(self) -> None:
        pass


async def test_who_returns_no_proposal_gives_its_turn_away() -> None:
    context = Context(charter="", source="", parent="", number=1, seed=0, sigma=0.01)
    found = await Team([Sloppy(), Sound()]).propose(context)
    assert found.agent == "sound" and found.notes.instead == "sloppy" and "not a Proposal" in found.notes.why
    with pytest.raises((AgentFailed, Exhausted)):
        await Team([Sloppy()]).propose(context)
