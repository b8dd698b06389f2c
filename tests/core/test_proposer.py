"""What an agent returns is looked at before anything is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.agents.base import AgentFailed
from core.model import Edit, Proposal
from core.proposer import checked


def test_a_proposal_passes_as_it_is() -> None:
    proposal = Proposal(hypothesis="h", edits=(Edit(search="a", replace="b"),), meta={"knobs": {"LR": 0.1}}, agent="x")
    assert checked(proposal) == proposal


@pytest.mark.parametrize(
    "given",
    [None, "words", {"edits": []}, Proposal(hypothesis=3), Proposal(hypothesis="h", edits=("a",)),  # type: ignore[arg-type]
     Proposal(hypothesis="h", meta={"file": Path("x")}), object()],
)  # fmt: skip
def test_what_is_none_is_said_in_a_sentence(given: object) -> None:
    with pytest.raises(AgentFailed, match=r"is no proposal \(.+\)\.$"):
        checked(given)
