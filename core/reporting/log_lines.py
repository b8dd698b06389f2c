"""The log line of an event, for a headless run and the app. Pure."""

from __future__ import annotations

import re
import time

from core.judging import final_check, gain, schedule
from core.model import Limits, Notes, Role
from core.record import events as ev
from core.record.experiment import Experiment
from core.record.fold import RERUN_TRIES, SKIPPED
from core.record.state import State
from core.reporting import activity, phrases, scoreboard
from core.reporting.phrases import PASTE, begun_as, one_line, proposed_limit, verdict
from core.reporting.summary import APPROVAL
from core.target import TARGET
from core.text import sanitize_line
from core.verdicts import Verdict
from nanochat.contract.job import Outcome, Result

NAMED = 3  # earlier runs that are named
_SAID = re.compile(rf"(?:Crashed, [\w -]+:|(?:Better|Worse) by [\d.]+ {TARGET.unit}|{SKIPPED.removesuffix('.')})[.:]?")


def line(event: ev.AnyEvent, state: State) -> str | None:
    """Return the log line of an event, or None for an event that humans need not see. `state`: the state after it."""
    words = _words(event, state)
    return (
        f"{time.strftime('%H:%M:%S', time.localtime(event.t))}  {phrases.typeset(sanitize_line(words))}"
        if words
        else None
    )


def _words(event: ev.AnyEvent, state: State) -> str | None:
    """Return an event as text, or None if it is not shown. Long, because each event has a case."""
    match event:
        case ev.Started():
            config = state.config
            assert config is not None
            detail = f", {phrases.count(state.tried, 'experiment')} so far" if state.tried else ""
            asks = (
                f" · each proposal waits {event.gate_time_s:g} s while the app is open"
                if event.approval == "ask"
                else ""
            )
            return (
                f"run {state.name}{begun_as(state.name, config.name)} · {config.dataset} on {config.device} · {config.budget_s:g} s each"
                f"{_on_top(state)} · "
                f"agent {event.agent} · {event.slots} at a time{detail}{asks}{_limits(event)}"
            )
        case ev.Charter(problem=problem) if problem:
            return f"program.md: {problem}"
        case ev.Charter():
            proposals = "; ".join(proposed_limit(line, sentence) for line, sentence in event.proposed)
            detail = "; ".join((*event.warnings, *event.understood)) or "read"
            return f"program.md: {detail}{f'; {proposals}. {PASTE}' if proposals else ''}"
        case ev.StartCommit():
            moved = phrases.set_for_machine(state)
            return f"start from {event.commit[:7]}{f' with {moved}, {phrases.NOT_COMPARED}' if moved else ''}"
        case ev.Proposed():
            again = f" (retry of #{event.retry_of})" if event.retry_of else ""
            repeated = phrases.again(state, state.experiments[event.number])
            again += f", {repeated}" if repeated else ""
            words = (
                f"#{event.number} proposed by {event.agent}{again}{_instead(event.notes)}: {one_line(event.hypothesis)}"
            )
            return f"{words} · note: {banner}" if (banner := _new_banner(state, event.number)) else words
        case ev.Launched(role=Role.BASELINE):
            return "baseline: training"
        case ev.Launched(role=Role.CANDIDATE):
            return f"#{event.number} training"
        case ev.Launched(role=Role.REPLICATE):
            return f"#{event.number} looks promising: {activity.place(state, event)}"
        case ev.Launched(role=Role.RERUN):
            return f"#{event.number} rerun on a new seed, as you asked"
        case ev.Aborted():
            return f"#{event.number} is aborted by you"
        case ev.Rerun(wanted=False):
            return f"#{event.number} rerun cancelled by you"
        case ev.Revised():
            return f"#{event.number} revised by you (+{event.added} −{event.removed})"
        case ev.Launched(role=Role.FINAL | Role.LONGER):
            return f"{event.role} {activity.place(state, event)}: {_which(event.commit, state)} on a fresh seed, to be scored on the test split"
        case ev.Launched(role=Role.INCUMBENT):
            return (
                f"the best train.py is measured again{f', to compare #{event.number} with it' if event.number else ''}"
            )
        case ev.Measured():
            return _measured(event, state)
        case ev.Grouped():
            return phrases.grouped(event) or None
        case ev.Rebased():
            return f"#{event.number} re-applied to the new best, and measured on that"
        case ev.Judged():
            return _judged(state, state.experiments[event.number])
        case ev.Refused():
            return f"no proposal for #{event.number}: {event.reason}"
        case ev.Paused():
            if event.reason:
                return f"paused: {event.reason}"
            return "pausing after this experiment" if state.busy else "paused"
        case ev.Resumed():
            return "resumed"
        case ev.ApprovalChanged():
            return f"approval: {APPROVAL.get(event.mode, event.mode)} from now on{' (' + event.by + ')' if event.by else ''}"
        case ev.Hint():
            return f"hint {len(state.all_hints)} for the agent: {one_line(event.text)}"
        case ev.TakenBack():
            return f"hint {event.number} is taken back"
        case ev.Lessons():
            return _lessons(event)
        case ev.Earlier():
            return _earlier(event)
        case ev.Notice():
            return event.text
        case ev.Reported():
            change = event.best - event.baseline
            return f"final check: start {event.baseline:.4f}, best {event.best:.4f} ({phrases.change(change)}, one fresh seed)"
        case ev.Torn():
            return f"an incomplete last line of {event.size} bytes was removed from the journal; all earlier events are intact"
        case ev.Stopped():
            return phrases.ended(event)
    return None


def _lessons(event: ev.Lessons) -> str:
    if not event.lines:
        return f"no lessons after {phrases.count(event.judged, 'verdict')}: {one_line(event.problem, 200)}; the run goes on"
    whose = (
        f"of run {event.source}"
        if event.source
        else f"after {phrases.count(event.judged, 'verdict')}, by {event.agent}"
    )
    order = (
        f"; its ideas in another order: {', '.join(one_line(idea, 60) for idea in event.order)}" if event.order else ""
    )
    return f"lessons {whose}: {' · '.join(one_line(line, 200) for line in event.lines)}{order}"


_ELSEWHERE = " with another dataset, profile or budget"


def _earlier(event: ev.Earlier) -> str:
    """Return what the agent knows from elsewhere, and from where."""
    named, more = ", ".join(event.runs[:NAMED]), len(event.runs) - NAMED
    runs = f"{named} and {more} more" if more > 0 else named
    sources = [f"{phrases.count(event.own, 'experiment')} of {runs}"] if event.own else []
    if event.shipped:
        elsewhere = _ELSEWHERE if any(effect.noise for effect in event.effects) else ""
        sources.append(f"{phrases.count(event.shipped, 'experiment')} of recorded nights{elsewhere}")
    return f"known from earlier runs: the effects of {' and of '.join(sources)}"


def _limits(event: ev.Started) -> str:
    """Return the limits of a start as a clause, and which of them come from the start before."""
    limits, before = event.limits, event.hours_before
    used = f", {before:.1f} h used" if before else ""
    phrases_of = {
        "max_experiments": f"at {phrases.count(limits.max_experiments or 0, 'experiment')}",
        "max_hours": f"after {limits.max_hours or 0:g} h",
        "max_crashes_in_a_row": f"after {limits.max_crashes_in_a_row} failures in a row",
    }
    found = [
        words + (f" (as before{used if name == 'max_hours' else ''})" if name in event.carried else "")
        for name, words in phrases_of.items()
        if getattr(limits, name) != getattr(Limits(), name)
    ]
    return f" · ends {' or '.join(found)}" if found else ""


def _on_top(state: State) -> str:
    """Return what an experiment takes besides its budget, in brackets; "" once experiments have shown it."""
    assert state.config is not None
    return "" if state.tried or state.config.computed else " (set-up, scoring and repeats come on top)"


def _which(commit: str, state: State) -> str:
    """Return which of the commits of a check it is."""
    if commit in (state.commits[0], state.incumbent):
        return "the start" if commit == state.commits[0] else "the best"
    number = next((number for number in state.kept if state.experiments[number].commit == commit), None)
    return f"the best with #{number}" if number is not None else "an earlier best"


def _instead(notes: Notes) -> str:
    """Return a clause if another agent proposed instead."""
    return f" instead of {notes.instead} ({one_line(notes.why, 200)})" if notes.instead else ""


def _new_banner(state: State, number: int) -> str:
    """Return the scoreboard's banner if it appears with this proposal, else ""."""
    return "" if scoreboard.banner(state, number - 1) else scoreboard.banner(state, number)


def _measured(event: ev.Measured, state: State) -> str | None:
    result = event.result
    if event.disturbed:
        given_up = event.role == Role.RERUN and event.number not in state.reruns
        so = f"none of {RERUN_TRIES} tries counts, so it is not run again" if given_up else "it does not count"
        return f"{_owner(event)} disturbed: {event.disturbed}; {so}"
    if event.role in (Role.BASELINE, Role.INCUMBENT) and result.val_bpb is not None:
        name = "baseline" if event.role == Role.BASELINE else "the best again"
        guard = f"; on {event.node}" if event.node else ""
        guard += f"; unprotected: {', '.join(result.unprotected)}" if result.unprotected else ""
        pace = f"; {phrases.pace(state)}" if event.role == Role.BASELINE and phrases.pace(state) else ""
        return f"{name}: {result.val_bpb:.4f}  ({result.steps} steps, {_rate(result)}{guard}){pace}"
    if event.role.is_check and result.val_bpb is not None:
        scores = state.check(event.role).scores
        both = state.commits[0], state.incumbent
        pair = event.commit in both and all(event.seed in scores.get(commit, {}) for commit in both)
        so_far = final_check.outcome(state, schedule.noise(state).sigma, event.role, event.t) if pair else None
        of_both = f". {phrases.final_check(so_far)}" if so_far is not None else ""
        return f"{event.role}: {_which(event.commit, state)} {result.val_bpb:.4f}{of_both}"
    if event.role == Role.RERUN and result.val_bpb is not None:
        return f"#{event.number} again: {result.val_bpb:.4f} on this seed"
    if event.role.is_check:
        which = _which(event.commit, state)
        return f"{event.role}: {which} has no score on this seed: {result.outcome}: {result.reason}"
    if event.role in (Role.BASELINE, Role.INCUMBENT, Role.RERUN) or result.outcome == Outcome.INTERRUPTED:
        return f"{_owner(event)} {result.outcome}: {result.reason}"
    return None


def _owner(event: ev.Measured) -> str:
    return activity.name(event.role, event.number)


def _rate(result: Result) -> str:
    return f"{result.tokens / result.charged_s / 1000:.1f}k tokens/s" if result.charged_s else "n/a tokens/s"


def _judged(state: State, experiment: Experiment) -> str:
    """Return the line of a verdict. Kept experiments are in capitals, so that they stand out."""
    assert experiment.verdict is not None
    found = gain.experiment_score(state, experiment)
    score = f" {found:.4f}" if found is not None else ""
    change = ""
    if experiment.gain is not None:
        change = f" ({phrases.change(TARGET.change(experiment.gain))})"
    words = verdict(experiment)
    shown = "skipped by you" if experiment.verdict is Verdict.SKIPPED else words
    more = _without(experiment.finding, words)
    return (
        f"#{experiment.number} {shown.upper() if experiment.verdict.kept else shown}{score}{change}"
        f"{f': {more}' if more else ''}"
    )


def _without(finding: str, text: str) -> str:
    """Return a finding without what the line has already: the verdict, and the change from which it follows."""
    if (match := _SAID.match(finding)) is not None:
        return finding[match.end() :].strip()
    head, colon, rest = finding.partition(": ")
    return rest if colon and head.lower() == text else finding
