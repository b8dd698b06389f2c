"""Turns an agent's proposal into a recorded experiment: context, checks, at most three tries, a commit."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from msgspec.structs import asdict, replace

from core.agents.base import (
    GIVEN,
    MOST_LATER,
    Agent,
    AgentFailed,
    Asked,
    CharterSummary,
    Context,
    Hint,
    OpenExperiment,
    PastExperiment,
    SeenExperiment,
    checked,
)
from core.agents.hooks import SummarizesCharter, may_repeat
from core.change import edits, knobs, touched
from core.change.as_edits import as_edits
from core.judging import gain, schedule
from core.model import NO_COST, Edit, Notes, Proposal, Value
from core.record import events as ev
from core.record.backlog import plain
from core.record.experiment import AND_HUMAN, Experiment
from core.reporting import diagnosis, phrases
from core.reporting.diagnosis import Training
from core.run import metrics
from core.run.active import ActiveRun
from core.verdicts import Verdict
from nanochat.contract.job import CrashClass

TRIES = 3
RESTATE_AGAIN = 32  # the most proposals between two requests for a restatement of program.md
CURVE_BYTES = 1_000_000  # how much of a training's curve is read
SOURCE_LIMIT = 200_000  # the most characters of a train.py
LONGEST_CHANGE = 1000  # characters of a change that a language model is shown in order to build on it
TRACEBACK = 2000  # the last characters of a traceback


@dataclass
class Proposer:
    """Asks one agent and turns its answer into a commit and a Proposed event."""

    agent: Agent
    _asked: str = ""  # hash of the program.md that the agent was asked to restate
    _failures: int = 0  # failed restatements in a row
    _restate_at: int = 0  # the experiment from which a restatement is asked for again
    _ideas: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)  # (parent, commit) -> touched names
    _moved: dict[tuple[str, str], dict[str, tuple[Value, Value]]] = field(default_factory=dict)  # likewise: constants
    _changes: dict[tuple[str, str], tuple[Edit, ...]] = field(default_factory=dict)  # likewise: the change as edits
    _known_of: ActiveRun | None = None
    # Of that run: experiment -> its revision, how agents see it, and whether it was trained.
    _known: dict[int, tuple[int, PastExperiment, bool]] = field(default_factory=dict)

    async def propose(self, active: ActiveRun) -> None:
        """Ask the agent for a proposal and record it.

        A proposal that is rejected is asked for again with the reason. If the third try is rejected too, it is recorded with a
        verdict and never trained.

        Raises:
            AgentFailed: The agent cannot propose now.
            Exhausted: The agent has nothing left to propose.
        """
        began = time.monotonic()
        rejections: list[str] = []
        for _ in range(TRIES):
            active.program.watch()
            await self._restate(active)
            parent = active.state.incumbent
            source = active.source(parent)
            context = self.context(active, tuple(rejections))
            proposal = checked(Proposal, await self.agent.propose(context))
            proposal = replace(proposal, agent=proposal.agent or self.agent.name)
            idea: tuple[str, ...] = ()
            candidate = source
            crash: CrashClass | None = None
            try:
                candidate = realise(source, proposal)
                idea = touched.touched(source, candidate)
                edits.validate_change(source, candidate, off_limits=active.program.charter.off_limits)
                self._check_new(active, parent, candidate)
                break
            except edits.EditError as error:
                rejections.append(str(error))
                crash = error.crash
        refused = len(rejections) == TRIES  # without training, its idea does not count as tried
        notes = replace(
            proposal.notes,
            idea=() if refused else idea,
            given=context.backlog[:GIVEN] or None,
            follows="" if refused else plain(proposal.notes.follows),
            later=active.backlog.fresh((proposal.notes.later or ())[:MOST_LATER]) or None,
        )
        proposal = replace(proposal, notes=notes)
        active.experiments.propose(proposal, parent, source, candidate, seconds=time.monotonic() - began)
        active.backlog.add(notes.later or ())
        if refused:
            number = max(active.state.experiments)
            verdict = Verdict.CRASH if crash else Verdict.INVALID
            active.experiments.judge(
                ev.Judged(number=number, verdict=verdict, crash=crash, reason=rejections[-1], finding="")
            )

    async def _restate(self, active: ActiveRun) -> None:
        """Ask the agent to restate a new program.md. After a failure, the request is repeated with later proposals, at growing intervals."""
        sha, number = active.state.charter.sha if active.state.charter else "", active.state.next_number
        if sha != self._asked:
            self._asked, self._failures, self._restate_at = sha, 0, number
        if not isinstance(self.agent, SummarizesCharter) or number < self._restate_at:
            return
        try:
            summary = CharterSummary.of(await self.agent.understand(active.program.text))
        except Exception as error:  # a failure must not prevent the proposal
            summary = CharterSummary(cost=error.cost if isinstance(error, AgentFailed) else NO_COST)
        self._failures = 0 if summary.words else self._failures + 1
        self._restate_at = number + min(2 ** (self._failures - 1), RESTATE_AGAIN) if self._failures else 10**9
        active.program.restated(summary.words, summary.cost)

    def _check_new(self, active: ActiveRun, parent: str, candidate: str) -> None:
        number = active.tried(parent).get(edits.fingerprint(candidate))
        if number is None or may_repeat(self.agent):
            return
        verdict = active.state.experiments[number].verdict
        how = f"cut short {schedule.CUT_SHORT} times" if verdict is not None and verdict.may_repeat else "tried before"
        raise edits.EditError(f"This very change was {how} on the same train.py, as experiment {number}.")

    def context(self, active: ActiveRun, rejections: tuple[str, ...] = ()) -> Context:
        """Return the context of the next proposal."""
        state = active.state
        assert state.config is not None
        source = active.source(state.incumbent)
        return Context(
            charter=active.program.text,
            source=source,
            parent=edits.fingerprint(source),
            number=state.next_number,
            seed=state.config.seed,
            sigma=active.sigma,
            start=state.mean(state.start_commit.commit) if state.start_commit else None,
            best=state.mean(state.incumbent),
            params=state.params,
            grown=edits.any_nodes(source) - state.start_commit.nodes if state.start_commit else 0,
            past=self._record(active),
            open=tuple(_open(active, e, self._seen(active, e)) for e in state.open.values()),
            asked=_asked(active),
            earlier=state.earlier.effects if state.earlier else (),
            hints=tuple(state.hints),
            tried=active.tried(state.incumbent),
            all_hints=tuple(
                Hint(number=hint.number, text=hint.text, skipped=hint.skipped, at=hint.at)
                for hint in state.all_hints
                if not hint.taken_back
            ),
            backlog=active.backlog.untried(state),
            own_ideas=active.backlog.movable(state),
            lessons=state.lessons.lines if state.lessons else (),
            proposed=Counter(e.agent.removesuffix(AND_HUMAN) for e in state.experiments.values() if e.retry_of is None),
            rejections=rejections,
        )

    def _record(self, active: ActiveRun) -> tuple[PastExperiment, ...]:
        """Return every judged experiment as agents see it. The latest training also has its facts."""
        if self._known_of is not active:
            self._known_of, self._known = active, {}
        found: list[PastExperiment] = []
        latest, at = -1.0, -1  # when the latest training was judged, and its place in `found`
        for e in active.state.experiments.values():
            if e.judged is None:
                continue
            revision, known = active.revisions.of(e.number), self._known.get(e.number)
            if known is None or known[0] != revision:
                job = active.state.training_of(e)
                past = _past(active, e, self._seen(active, e), self._change(active, e))
                known = self._known[e.number] = (revision, past, bool(job and job.result.steps))
            if known[2] and e.judged.t > latest:
                latest, at = e.judged.t, len(found)
            found.append(known[1])
        if at >= 0:
            e = active.state.experiments[found[at].number]
            job = active.state.training_of(e)
            assert job is not None  # it was trained
            found[at] = replace(found[at], facts=_facts(active, e, job))
        return tuple(found)

    def _seen(self, active: ActiveRun, e: Experiment) -> SeenExperiment:
        return _seen(active, e, self._idea(active, e), self._constants(active, e))

    def _idea(self, active: ActiveRun, e: Experiment) -> tuple[str, ...]:
        """Return the names that an experiment touches, as recorded. If it is no longer as proposed, they come from its commits."""
        if e.notes.idea is not None and e.revised is None and e.rebased is None:
            return e.notes.idea
        key = (e.parent, e.commit)
        if key not in self._ideas:
            self._ideas[key] = touched.touched(active.source(e.parent), active.source(e.commit))
        return self._ideas[key]

    def _constants(self, active: ActiveRun, e: Experiment) -> dict[str, tuple[Value, Value]]:
        """Return the constants that an experiment changed, or {} if its train.py is not valid Python."""
        key = (e.parent, e.commit)
        if key not in self._moved:
            try:
                self._moved[key] = knobs.moved(active.source(e.parent), active.source(e.commit))
            except SyntaxError:
                self._moved[key] = {}
        return self._moved[key]

    def _change(self, active: ActiveRun, e: Experiment) -> tuple[Edit, ...]:
        """Return the change of a crash, a near miss or a kept experiment as edits, or () if it is long or has another verdict."""
        near = e.verdict is Verdict.DISCARD and (e.gain or 0.0) > 0
        if not (near or (e.verdict is Verdict.CRASH and e.launched) or e.verdict is Verdict.KEEP):
            return ()
        key = (e.parent, e.commit)
        if key not in self._changes:
            made = as_edits(active.source(e.parent), active.source(e.commit))
            length = sum(len(edit.search) + len(edit.replace) for edit in made)
            self._changes[key] = made if length <= LONGEST_CHANGE else ()
        return self._changes[key]


def _asked(active: ActiveRun) -> tuple[Asked, ...]:
    """Return what language models were asked for, without repeats of interrupted experiments."""
    return tuple(
        Asked(
            number=e.number,
            parent=active.fingerprint(e.parent),
            operator=e.notes.dropped or e.notes.operator,
            on=e.notes.on or (),
            usable=not e.notes.dropped and not e.notes.instead,
        )
        for e in active.state.experiments.values()
        if e.notes.operator and e.retry_of is None
    )


def realise(source: str, proposal: Proposal) -> str:
    """Return the new train.py of a proposal. Raises EditError if its edits do not apply or it is too long."""
    candidate = proposal.source if proposal.source is not None else edits.apply(source, proposal.edits)
    if len(candidate) > SOURCE_LIMIT:
        raise edits.EditError(
            f"The new train.py has {len(candidate):,} characters; keep it under {SOURCE_LIMIT:,}.", CrashClass.CONTRACT
        )
    return candidate


def _seen(
    active: ActiveRun, e: Experiment, idea: tuple[str, ...], constants: dict[str, tuple[Value, Value]]
) -> SeenExperiment:
    """Return what agents see of an experiment even before it has a score."""
    notes = e.notes
    if e.revised:  # the notes about the change are about the agent's own, not about the human's
        notes = Notes(
            step=notes.step,
            said=notes.said,
            aside=notes.aside,
            operator=notes.operator,
            on=notes.on,
            dropped=notes.dropped,
        )
    return SeenExperiment(
        number=e.number,
        parent=active.fingerprint(e.parent),
        fingerprint=e.fingerprint,
        proposal=Proposal(hypothesis=e.hypothesis, agent=e.agent, topic=e.topic, notes=notes),
        idea=idea,
        constants=constants,
        structural=bool(set(idea) - constants.keys()),
    )


def _open(active: ActiveRun, e: Experiment, seen: SeenExperiment) -> OpenExperiment:
    """Return an experiment without a verdict as agents see it, with what its pairs say so far."""
    found = gain.of_open(active.state, e, active.sigma)
    if found is not None:
        parent = active.fingerprint(found.parent)
        seen = replace(seen, parent=parent, gain=found.gain, error=found.error, seeds=found.seeds)
    return OpenExperiment(**asdict(seen))


def _past(active: ActiveRun, e: Experiment, seen: SeenExperiment, change: tuple[Edit, ...]) -> PastExperiment:
    """Return a judged experiment as agents see it, without the facts of its training."""
    assert e.verdict is not None
    seeds = tuple(active.state.scores.get(e.commit, {}))[: e.pairs]  # they are in the order of measurement
    return PastExperiment(
        **asdict(replace(seen, gain=e.gain, error=e.error, seeds=seeds)),
        verdict=e.verdict,
        by=e.by,
        outcome="" if e.by == "human" else phrases.verdict(e),
        crash=e.crash or "",
        val_bpb=e.val_bpb,
        finding=e.finding,
        seconds=e.proposing_s + e.seconds,
        change=change,
        traceback=e.traceback[-TRACEBACK:] if e.verdict is Verdict.CRASH else "",
    )


def _facts(active: ActiveRun, e: Experiment, job: ev.Measured) -> str:
    """Describe how a training differs from its parent's, for example in speed or memory."""
    parent = active.state.facts.get(e.parent)
    return diagnosis.words(_training(active, job), _training(active, parent) if parent else None)


def _training(active: ActiveRun, job: ev.Measured) -> Training:
    """Return the figures of a job, with the loss curve from its folder."""
    lines = metrics.lines(active.folder, job, CURVE_BYTES)
    result = job.result
    speed = result.tokens / result.charged_s if result.charged_s else 0.0
    return Training(result.steps, speed, result.peak_memory, diagnosis.curve(lines))
