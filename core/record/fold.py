"""Computes the state of a run from its events. Replaying the journal always gives the same state. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import assert_never

import msgspec
from msgspec.structs import replace

from core.model import NO_COST, Role
from core.record import events as ev
from core.record.experiment import Conditions, Experiment, Hint
from core.record.state import FAILED_SEEDS, FAILED_TRIES, Check, Scored, State
from core.verdicts import Verdict
from nanochat.contract.job import Outcome

RERUN_TRIES = 3  # tries of a rerun on a disturbed machine
CHECK_TRIES = 3  # trainings of one commit on one seed for a check
SKIPPED = "Skipped by the human."


def apply(state: State, event: ev.AnyEvent) -> None:
    """Update the state with one event. Unexpected combinations are ignored. Long, because each event has a case, the frequent ones first."""
    if not isinstance(event, ev.Torn):  # that is recorded when the run is opened the next time
        state.last_t = event.t
    match event:
        case ev.Measured():
            _measured(state, event)
        case ev.Launched():
            state.running[event.job] = event
            state.jobs += 1
            if event.number is not None:
                state.experiments[event.number].launched = True
        case ev.Processes():
            state.processes[event.job] = event
        case ev.Proposed():
            _proposed(state, event)
        case ev.Approved():
            state.experiments[event.number].approval = event
        case ev.Judged():
            _judged(state, event)
        case ev.Revised():
            _revised(state, event)
        case ev.Grouped():
            state.groups[event.node] = event.group
        case ev.Rerun(wanted=True):
            state.reruns[event.number] = 0
        case ev.Rerun():
            state.reruns.pop(event.number, None)
            state.aborted.discard(event.number)
        case ev.Aborted():
            state.aborted.add(event.number)
        case ev.Rebased():
            _rebased(state, event)
        case ev.Created():
            state.config = event.config
            state.name = state.name or state.config.name
            state.approval = state.config.approval
            state.created_t = event.t
            state.id = event.id or hashlib.sha256(msgspec.json.encode(event)).hexdigest()[:32]
        case ev.Started():
            state.started, state.stopped = event, None
            state.approval = event.approval
            state.crash_streak = 0
            state.paused = False
        case ev.Stopped():
            already, state.stopped = state.stopped, event
            if not already:
                state.seconds_running += state.start_s
        case ev.Earlier():
            state.earlier = event
        case ev.StartCommit():
            state.start_commit = event
            state.known.add(event.commit)
            state.start_commits.append(event.commit)
            state.baseline_failure = None
        case ev.Charter():
            state.charter = event
            if event.cost != NO_COST:
                state.restatings.append(event.cost)
        case ev.Refused():
            state.refused += 1
            state.refusals[event.agent] = state.refusals.get(event.agent, 0) + 1
        case ev.Hint():
            state.all_hints.append(
                Hint(len(state.all_hints) + 1, event.text, t=event.t, unused=event.unused, at=state.next_number)
            )
        case ev.TakenBack():
            _taken_back(state, event.number)
        case ev.Paused():
            state.paused, state.pause_reason = True, event.reason
        case ev.Resumed():
            state.paused, state.pause_reason = False, ""
        case ev.ApprovalChanged():
            state.approval = event.mode
        case ev.Lessons():
            _taught(state, event)
        case ev.Reported():
            _reported(state, event)
        case ev.Notice():
            state.notices.add(event.text)
        case ev.Torn():
            pass
        case _:
            assert_never(event)


def _proposed(state: State, event: ev.Proposed) -> None:
    experiment = Experiment(event)
    if event.retry_of is not None:  # earlier measurements still count
        earlier = state.experiments[event.retry_of]
        experiment.val_bpb, experiment.measured = state.mean(event.commit), earlier.measured
        experiment.revised, experiment.scored = earlier.revised, earlier.scored
        experiment.peak_memory, experiment.before = earlier.peak_memory, earlier.before
    else:
        experiment.same_as = state.hypotheses.get(event.hypothesis)
    state.hypotheses[event.hypothesis] = event.number
    state.known.add(event.commit)
    state.experiments[event.number] = state.open[event.number] = experiment


def _taught(state: State, event: ev.Lessons) -> None:
    if event.lines:
        state.lessons = event
    if not event.source:
        state.lessons_at = event.judged
    if event.cost != NO_COST:
        state.reflections.append(event.cost)


def _taken_back(state: State, number: int) -> None:
    """Mark what the human said as taken back. A reason for skipping is also removed from the verdict."""
    if not 1 <= number <= len(state.all_hints):
        return
    hint = state.all_hints[number - 1]
    hint.taken_back = True
    experiment = state.experiments.get(hint.skipped) if hint.skipped is not None else None
    if experiment is not None and experiment.verdict is Verdict.SKIPPED:
        assert experiment.judged is not None
        experiment.judged = replace(experiment.judged, finding=SKIPPED, reason="")


def _revised(state: State, event: ev.Revised) -> None:
    experiment = state.experiments[event.number]
    experiment.revised = experiment.latest = event
    experiment.before = None  # it is another change now
    experiment.attempts.append(event.commit)
    state.known.add(event.commit)


def _rebased(state: State, event: ev.Rebased) -> None:
    experiment = state.experiments[event.number]
    if experiment.commit in state.scores:  # else it was re-applied twice before it was trained
        experiment.before = experiment.commit, experiment.parent
    experiment.rebased = experiment.latest = event
    experiment.attempts.append(event.commit)
    state.known.add(event.commit)
    experiment.val_bpb, experiment.failure = None, None


def _measured(state: State, event: ev.Measured) -> None:
    result = event.result
    state.ended += 1
    launched = state.running.pop(event.job, None)
    state.processes.pop(event.job, None)
    is_new = event.job not in state.beside
    state.beside.discard(event.job)
    if event.node:
        _note_node(state, event.node, launched.nodes if launched is not None else ())
    experiment = state.experiments.get(event.number) if event.number is not None else None
    if experiment is not None:
        experiment.seconds += result.total_wall_s
    if result.speed is not None and result.outcome is Outcome.SCORED:
        state.reference_s = state.reference_s or result.speed.reference_s
        state.references.setdefault(event.node, result.speed.reference_s)
    if result.outcome is Outcome.INTERRUPTED:
        return
    state.kind = state.kind or event.kind
    if event.node and event.node not in state.nodes:
        state.nodes.append(event.node)
    state.unprotected, state.unmeasured = result.unprotected, result.unmeasured
    state.other_gpu_bytes = result.other_gpu_bytes
    if event.role is Role.RERUN and event.number is not None:
        tries = state.reruns.pop(event.number, 0) + 1
        if event.disturbed and tries < RERUN_TRIES:
            state.reruns[event.number] = tries
        else:
            state.aborted.discard(event.number)
        if not event.scored:
            return  # the verdict stays
    if event.role.is_check:
        _checked(state, event)
        return
    of_incumbent = experiment is None or event.role is Role.INCUMBENT
    if event.scored:
        _scored(state, event, experiment)
        return
    # What disturbs one training of a commit, or makes it fail, may do so to all that run at the same time. It counts once.
    state.beside.update(job for job, running in state.running.items() if running.commit == event.commit)
    if event.disturbed:
        if experiment is not None and not of_incumbent:
            if is_new:
                experiment.disturbances[event.seed] = experiment.disturbances.get(event.seed, 0) + 1
        else:
            state.disturbances[event.commit] = state.disturbances.get(event.commit, 0) + is_new
    elif experiment is not None and not of_incumbent:
        experiment.failure = event
        experiment.peak_memory = max(experiment.peak_memory, result.peak_memory)
    else:
        failures = state.failures.setdefault(event.commit, {})
        if is_new:
            failures[event.seed] = failures.get(event.seed, 0) + 1
        if experiment is None and failures.get(event.seed, 0) >= FAILED_TRIES:
            state.judged_since_incumbent = 0  # its regular repeat is tried again after as many verdicts
        if event.role is Role.BASELINE:
            state.baseline_failure = event


def _note_node(state: State, node: str, wanted: tuple[str, ...]) -> None:
    """Note on which node a job ran, and that the nodes on which it should have run are gone."""
    state.gone.discard(node)
    if wanted and node not in wanted:
        state.gone.update(wanted)


def _checked(state: State, event: ev.Measured) -> None:
    """Note a training of a check. Its score is of another split, so no verdict may depend on it."""
    check, key = state.checks.setdefault(event.role, Check()), (event.commit, event.seed)
    check.tries[key] = check.tries.get(key, 0) + 1
    if event.scored and event.result.val_bpb is not None:
        score = check.scores.get(event.commit, {}).get(event.seed)
        conditions = check.conditions.get(event.commit, {}).get(event.seed)
        if score is not None and conditions is not None:  # it may still form a pair
            check.replaced.setdefault(key, []).append((score, conditions))
        check.scores.setdefault(event.commit, {})[event.seed] = event.result.val_bpb
        check.conditions.setdefault(event.commit, {})[event.seed] = _conditions(state, event)
    elif not event.disturbed:
        check.tries[key] = CHECK_TRIES  # it would fail again


def _reported(state: State, event: ev.Reported) -> None:
    if state.start_commit is not None:
        scores = state.checks.setdefault(Role.FINAL, Check()).scores
        scores.setdefault(state.start_commit.commit, {})[event.seed] = event.baseline
        scores.setdefault(event.commit, {})[event.seed] = event.best


def _scored(state: State, event: ev.Measured, experiment: Experiment | None) -> None:
    result = event.result
    assert result.val_bpb is not None
    if not event.disturbance_ignored:
        state.disturbances.pop(event.commit, None)  # only disturbances in a row count
    failed = state.failed_seeds(event.commit) - {event.seed}
    state.failures.pop(event.commit, None)
    if failed and len(failed) < FAILED_SEEDS:  # with more, something else than the seeds was at fault
        state.failures[event.commit] = dict.fromkeys(failed, FAILED_TRIES)
    state.scores.setdefault(event.commit, {})[event.seed] = result.val_bpb
    conditions = _conditions(state, event)
    state.conditions.setdefault(event.commit, {})[event.seed] = conditions
    if event.node:
        there = state.on_nodes.setdefault(event.commit, {}).setdefault(event.node, Scored())
        there.scores[event.seed], there.conditions[event.seed] = result.val_bpb, conditions
    state.facts.setdefault(event.commit, event)
    if event.commit == state.incumbent:
        state.judged_since_incumbent = 0
    if event.role is Role.BASELINE and state.baseline is None:
        state.baseline = event
    _show_mean(state, event, experiment)
    if experiment is not None and experiment.commit == event.commit:
        experiment.measured += 1
        experiment.scored = event
        experiment.peak_memory = max(experiment.peak_memory, result.peak_memory)


def _conditions(state: State, event: ev.Measured) -> Conditions:
    """Return when and how fast a training was."""
    result = event.result
    known = result.speed is not None and result.speed.reference_s == state.references.get(event.node)
    speed = result.speed.mean if result.speed is not None and known else None
    return Conditions(event.t, result.total_wall_s, speed, state.ended, event.node)


def _show_mean(state: State, event: ev.Measured, experiment: Experiment | None) -> None:
    """Update val_bpb of the experiment, and of a kept experiment whose commit was measured again."""
    again = state.kept if event.role in (Role.INCUMBENT, Role.RERUN) else []
    for shown in (experiment, *(state.experiments[number] for number in again)):
        if shown is not None and state.scores.get(shown.commit) is state.scores[event.commit]:
            shown.val_bpb = state.mean(event.commit)


def _judged(state: State, event: ev.Judged) -> None:
    experiment = state.experiments[event.number]
    verdict, before = event.verdict, experiment.verdict
    if before is not None and before.kept and not verdict.kept:  # overruled; this is always the last kept one
        state.kept.remove(event.number)
    experiment.judged = event
    if verdict is Verdict.SKIPPED and before is None and event.reason.strip():
        state.all_hints.append(
            Hint(len(state.all_hints) + 1, event.reason, event.number, event.t, at=state.next_number)
        )
    state.open.pop(event.number, None)
    state.aborted.discard(event.number)
    if verdict is not Verdict.INTERRUPTED and before is None:
        state.judged += 1
        state.counted += verdict.counts
    state.tried += verdict.tried - (before is not None and before.tried)
    if verdict.kept:
        state.known.update((event.commit, *(part.commit for part in event.parts)))
        state.scores[event.commit] = state.scores.get(experiment.commit, {})
        state.conditions[event.commit] = state.conditions.get(experiment.commit, {})
        if experiment.commit in state.on_nodes:
            state.on_nodes[event.commit] = state.on_nodes[experiment.commit]
        if experiment.commit in state.facts:
            state.facts[event.commit] = state.facts[experiment.commit]
        experiment.kept_as = event.commit
        state.kept.append(event.number)
        for check in state.checks.values():
            check.tries.clear()  # the new incumbent gets a check of its own
        state.judged_since_incumbent = 0
    elif experiment.val_bpb is not None:
        state.judged_since_incumbent += 1
    if before is not None:
        return
    if verdict.failed:
        state.crash_streak += experiment.launched  # an experiment that was never trained does not count
    elif not verdict.stopped:
        state.crash_streak = 0


def fold(events: Iterable[ev.AnyEvent], state: State | None = None) -> State:
    """Compute the state of a run from its events.

    Args:
        events: The events of a journal, in order.
        state: The state before these events, which is updated. None for the beginning of a journal.

    Returns:
        The state after all events.
    """
    state = state or State()
    for event in events:
        apply(state, event)
    return state
