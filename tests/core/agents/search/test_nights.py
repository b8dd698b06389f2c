"""Whole nights of the agent search, in which the train.py moves on."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from core.agents.base import Agent, Context, PastExperiment
from core.agents.search.agent import Search
from core.agents.search.ideas import IDEAS, applied
from core.agents.team import Team
from core.change import edits, knobs
from core.model import Notes, Proposal, Value
from core.target import TARGET
from core.target.book import BOOK
from core.target.entry import Entry
from core.verdicts import Verdict
from tests.core.agents.search.test_agent import ROOT, SOURCE, context, judged


def played(count: int, gains: Callable[[Proposal], float | None], agent: Agent | None = None) -> list[PastExperiment]:
    """A night in which what gains 3 noises or more is kept, so that the train.py moves on."""
    chosen, source, past = agent or Search(), SOURCE, list[PastExperiment]()
    for number in range(1, count + 1):
        parent = edits.fingerprint(source)
        tried = {one.fingerprint: one.number for one in past if one.parent == parent}
        proposed = Counter(one.proposal.agent for one in past)
        asked = replace(
            context(number, tuple(past)), source=source, parent=parent, tried=tried, proposed=dict(proposed)
        )
        proposal = asyncio.run(chosen.propose(asked))
        assert proposal.source is not None and edits.fingerprint(proposal.source) not in {*tried, parent}
        gain = gains(proposal)
        kept = gain is not None and gain >= 0.024
        one = judged(number, proposal, gain)
        past.append(
            replace(
                one, parent=parent, constants=knobs.moved(source, proposal.source),
                verdict=Verdict.KEEP if kept else one.verdict,
            )
        )  # fmt: skip
        source = proposal.source if kept else source
    return past


def replaced(entry: Entry, source: str) -> str | None:
    """The texts of an idea replaced, without any other check; None if one of them does not occur exactly once."""
    for search, replace_by in entry.changes:
        if source.count(search) != 1:
            return None
        source = source.replace(search, replace_by)
    return source


@pytest.mark.parametrize("entry", BOOK, ids=lambda entry: entry.name)
def test_an_idea_is_never_applied_twice(entry: Entry) -> None:
    once = applied(entry, SOURCE)
    assert once is not None and applied(entry, once) is None
    for other in BOOK:
        both = replaced(other, once) if other is not entry else None
        if both is not None and replaced(entry, both) is not None:  # its texts are there again
            assert applied(other, once) is None or applied(entry, both) is None, (
                f"{entry.name} again on top of {other.name}"
            )


def test_what_was_kept_is_not_proposed_again_on_the_new_best() -> None:
    good = {name for name in IDEAS if IDEAS[name].present(applied(IDEAS[name], SOURCE) or "")}
    assert len(good) > 12, "those that keep the text that they search for"
    past = played(40, lambda p: 0.03 if good & set(p.notes.edits) else -0.004)
    kept = [name for one in past if one.verdict.kept for name in one.proposal.notes.edits]
    assert len(kept) >= 2 and len(kept) == len(set(kept))
    for place, one in enumerate(past):
        before = {name for earlier in past[:place] if earlier.verdict.kept for name in earlier.proposal.notes.edits}
        assert not before & set(one.proposal.notes.edits)


def test_what_was_clearly_worse_is_not_tried_again_at_once_on_a_new_best() -> None:
    """After a keep other ideas come first, since the model remembers what an idea did before."""
    past = played(30, lambda p: 0.03 if p.notes.knobs.get("TOTAL_BATCH") else -0.05)
    assert any(one.verdict.kept for one in past)
    ideas = [name for one in past for name in one.proposal.notes.edits if one.proposal.notes.expected is None]
    assert len(ideas) == len(set(ideas)) > 6


def test_the_opening_goes_on_when_somebody_else_has_made_its_next_step() -> None:
    values = {"TOTAL_BATCH": 2**10, "BATCH_SIZE": 4}
    for name in ("DEPTH", "MATRIX_LR", "TOTAL_BATCH"):
        assert TARGET.impacts[name] >= TARGET.impacts["EMBED_LR"]
    made: list[tuple[str, dict[str, Value]]] = [
        ("DEPTH", {"DEPTH": 1}),
        ("MATRIX_LR", {"MATRIX_LR": 0.034}),
        ("TOTAL_BATCH", values),
    ]
    past = tuple(
        judged(n, Proposal(hypothesis="h", source=knobs.set_knobs(SOURCE, changed)), -0.01)
        for n, (_, changed) in enumerate(made, 1)
    )
    found = Search().propose_now(replace(context(5, past), proposed={"search": 1}))
    assert found.notes.step == "EMBED_LR up"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_each_kind_has_its_turn_also_in_a_team(place: int) -> None:
    class Other:
        name = "other"

        async def propose(self, context: Context) -> Proposal:
            source = f"{context.source}\nX = {context.number}\n"
            return Proposal(hypothesis="h", source=source, agent=self.name, notes=Notes(edits=(), knobs={}))

        async def release(self) -> None:
            pass

    parts: list[Agent] = [Other(), Other()]
    parts.insert(place, Search())
    past = played(36, lambda p: 0.006 if p.topic in ("optimizer", "attention") else -0.006, Team(parts))
    own = [one.proposal for one in past if one.proposal.agent == "search"]
    assert len(own) >= 6
    combined = [p for p in own if p.notes.expected is not None]
    assert combined and any(p.notes.step for p in own)
    assert any(len(p.notes.edits) == 1 for p in own if p.notes.expected is None)


def test_the_same_record_gives_the_same_proposal_in_another_process() -> None:
    """A set of words has another order in each process."""
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from tests.core.agents.search.test_nights import played
past = played(20, lambda p: 0.03 if len(p.notes.knobs) > 1 else 0.007)
print([(one.proposal.hypothesis, one.proposal.topic) for one in past])
"""
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1 and "One more step in the same direction: " in told.pop()
