"""What other slots are trying is not proposed again."""

from __future__ import annotations

from msgspec.structs import replace

from core.agents.base import OpenExperiment
from core.agents.search.agent import Search
from core.agents.search.ideas import changes_of
from core.change import edits, knobs
from core.model import Proposal
from tests.core.agents.search.test_agent import PARENT, SOURCE, context, told


def begun(number: int, proposal: Proposal, parent: str = PARENT) -> OpenExperiment:
    """An experiment that another slot works on. `parent`: fingerprint of the best when it was proposed."""
    assert proposal.source is not None
    return OpenExperiment(
        number=number, parent=parent, fingerprint=edits.fingerprint(proposal.source), proposal=proposal,
        constants=knobs.moved(SOURCE, proposal.source), structural=bool(proposal.notes.edits),
    )  # fmt: skip


def test_what_other_slots_try_is_not_proposed_again_on_a_newer_best() -> None:
    """Then its fingerprint is not among the tried ones, since those are changes of the present best."""
    opened: tuple[OpenExperiment, ...] = ()
    alone: list[frozenset[str]] = []
    for number in range(1, 31):
        proposal = Search().propose_now(replace(context(number), open=opened))
        opened += (begun(number, proposal, parent="an older best"),)
        marks = changes_of(opened[-1])
        if len(marks) == 1:
            alone.append(marks)
    assert len(alone) > 20 and len(set(alone)) == len(alone)


def test_a_wish_that_another_slot_tries_is_not_followed_again() -> None:
    asked = told("set WIDTH to 256")
    first = Search().propose_now(asked)
    assert first.notes.knobs == {"WIDTH": 256}
    second = Search().propose_now(replace(asked, number=2, open=(begun(1, first, parent="an older best"),)))
    assert second.notes.knobs != {"WIDTH": 256}
