"""A human edits a proposal while the best changes: nothing of the text is lost, and what is trained starts from the new best."""

from __future__ import annotations

import ast
from typing import cast

import pytest

from core.loop.approval import Approval
from core.loop.control import Control
from core.loop.ending import Ending
from core.loop.slots import Slots
from core.model import Limits, Proposal, Role
from core.record import events as ev
from core.run import commands
from core.run.active import ActiveRun
from core.verdicts import Verdict
from nanochat.contract.job import Outcome, Result
from tests.core.loop.night import SOURCE, changed
from tests.core.run.test_active import active as at_start

__all__ = ["at_start"]


class Run:
    """A run in which #2 waits for an answer."""

    def __init__(self, active: ActiveRun) -> None:
        self.active = active
        approval = Approval(active, lambda: True, 60.0)
        self._control = Control(active, approval, cast(Slots, None), Ending(Limits()), "listed")
        active.start.make(SOURCE, {}, active.repo.base())
        self.start = active.state.incumbent
        self.propose("K1 = 1")
        self.propose("K5 = 1")

    def propose(self, idea: str) -> None:
        source = self.active.source(self.active.state.incumbent)
        proposal = Proposal(hypothesis=f"Set {idea}.", agent="listed")
        self.active.experiments.propose(
            proposal, self.active.state.incumbent, source, changed(source, idea), seconds=0.0
        )

    def keep(self, number: int) -> None:
        """Let an experiment become the new best."""
        experiment = self.active.state.experiments[number]
        for role, commit, owner, score in (
            (Role.BASELINE, experiment.parent, None, 2.0),
            (Role.CANDIDATE, experiment.commit, number, 1.0),
        ):
            job = f"j{number}-{commit[:7]}"
            self.active.record(ev.Launched(job=job, role=role, commit=commit, seed=1, slot=0, number=owner))
            result = Result(job=job, outcome=Outcome.SCORED, val_bpb=score)
            self.active.record(ev.Measured(role=role, commit=commit, seed=1, number=owner, result=result))
        self.active.experiments.judge(ev.Judged(number=number, verdict=Verdict.KEEP, finding=""))

    def send(self, command: commands.Command) -> commands.Reply:
        return self._control.execute(command)

    def source(self, number: int) -> str:
        return self.active.source(self.active.state.experiments[number].commit)

    def file(self, number: int) -> str:
        return (self.active.attempt_folder(number) / "train.py").read_text()


@pytest.fixture
def run(at_start: ActiveRun) -> Run:
    return Run(at_start)


def test_an_overtaken_proposal_is_re_applied_before_it_is_edited(run: Run) -> None:
    assert run.send(commands.Reapply(number=2)).words == "#2 changes the best train.py"
    run.keep(1)
    reply = run.send(commands.Reapply(number=2))
    best = run.active.state.incumbent
    assert reply.ok and reply.words == "There is a new best; #2 is re-applied to it"
    assert reply.offer == commands.Offer(parent=best, source=run.source(2)) and best != run.start
    assert "K1 = 1" in run.source(2) and "K5 = 1" in run.source(2) and run.file(2) == run.source(2)
    assert run.active.state.experiments[2].parent == best and not run.active.state.experiments[2].approved


def test_a_text_that_was_overtaken_while_it_was_edited_is_merged(run: Run) -> None:
    mine = changed(run.source(2), "K8 = 8")
    run.keep(1)
    reply = run.send(commands.Revise(number=2, source=mine, hypothesis="mine", parent=run.start))
    assert reply.ok and "merged into the new best, and still waits" in reply.words
    experiment = run.active.state.open[2]
    assert experiment.parent == run.active.state.incumbent and experiment.hypothesis == "mine"
    assert all(idea in run.source(2) for idea in ("K1 = 1", "K5 = 1", "K8 = 8")) and run.file(2) == run.source(2)


def test_a_text_on_the_old_best_is_merged_although_the_proposal_was_re_applied_meanwhile(run: Run) -> None:
    mine = changed(run.source(2), "K8 = 8")
    run.keep(1)
    assert run.send(commands.Reapply(number=2)).ok  # by another app
    assert run.send(commands.Revise(number=2, source=mine, parent=run.start)).ok
    assert all(idea in run.source(2) for idea in ("K1 = 1", "K5 = 1", "K8 = 8")), "the new best is not undone"


def test_a_text_that_conflicts_is_offered_with_markers_and_the_proposal_stays(run: Run) -> None:
    before = run.source(2)
    mine = changed(before, "K1 = 9")
    run.keep(1)
    events = run.active.journal.path.read_bytes()
    reply = run.send(commands.Revise(number=2, source=mine, parent=run.start))
    assert not reply.ok and reply.words == "A new best train.py changed the same lines as you. #2 stays as it was."
    assert reply.offer is not None and reply.offer.parent == run.active.state.incumbent
    text = reply.offer.source
    assert "<<<<<<< the best\nK1 = 1" in text and "K1 = 9  # constant 1\n>>>>>>> yours" in text and "K5 = 1" in text
    with pytest.raises(SyntaxError):
        ast.parse(text)  # so it cannot be sent by mistake
    assert run.source(2) == before and run.active.journal.path.read_bytes() == events
    lines = text.splitlines(keepends=True)
    solved = "".join(one for one in lines if not one.startswith(("<<<<<<<", "=======", ">>>>>>>", "K1 = 1 ")))
    own = commands.Own(parent=reply.offer.parent, source=solved, hypothesis="mine")
    assert run.send(own).ok and "K1 = 9" in run.source(3) and "K5 = 1" in run.source(3)


def test_a_proposal_that_does_not_apply_to_the_new_best_is_left_as_it_is(run: Run) -> None:
    run.propose("K1 = 2")
    run.keep(1)
    reply = run.send(commands.Reapply(number=3))
    assert not reply.ok and "#3 does not apply to it: the best changed the same lines" in reply.words
    assert 3 in run.active.state.open, "the human may still edit it"


def test_approving_an_overtaken_proposal_re_applies_it_first(run: Run) -> None:
    run.keep(1)
    assert run.send(commands.Approve(number=2)) == commands.Reply(
        ok=True, words="approved #2, re-applied to the new best"
    )
    assert run.active.state.experiments[2].parent == run.active.state.incumbent
    assert "K1 = 1" in run.source(2) and "K5 = 1" in run.source(2)


def test_approving_what_does_not_apply_to_the_new_best_is_refused(run: Run) -> None:
    run.propose("K1 = 2")
    run.keep(1)
    reply = run.send(commands.Approve(number=3))
    assert not reply.ok and reply.words.startswith(
        "#3 is not approved. There is a new best, and #3 does not apply to it"
    )
    assert reply.words.endswith(". Revise or skip it.") and not run.active.state.open[3].approved


def test_a_text_for_a_proposal_that_waits_no_more_is_offered_for_an_own_experiment(run: Run) -> None:
    mine = changed(run.source(2), "K8 = 8")
    run.keep(1)
    assert run.send(commands.Skip(number=2)).ok
    reply = run.send(commands.Revise(number=2, source=mine, parent=run.start))
    assert not reply.ok and reply.words == "#2 does not wait any more." and reply.offer is not None
    assert all(idea in reply.offer.source for idea in ("K1 = 1", "K5 = 1", "K8 = 8"))
    assert run.send(commands.Reapply(number=2)).words == "#2 does not wait for an answer"
    assert run.send(commands.Approve(number=2)) == commands.Reply(ok=False, words="#2 does not wait for an answer")


def test_a_verdict_that_changes_nothing_is_refused_in_plain_english(run: Run) -> None:
    run.keep(1)
    for verdict in (Verdict.KEEP, Verdict.SIMPLIFICATION):
        assert run.send(commands.Overrule(number=1, verdict=verdict)).words == "#1 is already kept."
    assert run.send(commands.Overrule(number=1, verdict=Verdict.DISCARD)).ok
    assert run.send(commands.Overrule(number=1, verdict=Verdict.DISCARD)).words == "#1 is already discarded."
