"""A recorded A/A night: real trainings under a changing load, of edits that change nothing. Any kept change is a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.judging import schedule
from core.record import events as ev
from core.record import journal
from core.record.fold import apply
from core.record.state import State
from core.verdicts import Verdict

JOURNAL = Path(__file__).resolve().parents[2] / "recorded" / "aa-night" / journal.NAME


def test_the_rule_judges_each_experiment_as_it_did_and_keeps_none() -> None:
    state, judged = State(), 0
    for event in journal.read(JOURNAL):
        if isinstance(event, ev.Judged) and event.verdict is not Verdict.INTERRUPTED:
            sigma = schedule.noise(state).sigma
            step = schedule.assess(state, state.experiments[event.number], sigma)
            assert isinstance(step, ev.Judged) and step.verdict is event.verdict, event
            assert (step.pairs, step.within_noise, step.reason) == (event.pairs, event.within_noise, event.reason)
            assert (step.gain, sigma) == pytest.approx((event.gain, event.sigma)) or event.verdict is Verdict.DISTURBED
            judged += 1
        apply(state, event)
    assert judged == state.judged >= 40 and state.kept == []
    worse = [e for e in state.experiments.values() if e.verdict is Verdict.DISCARD and not e.within_noise]
    assert len(worse) <= 2


def test_the_first_seeds_are_those_on_which_the_best_was_as_usual() -> None:
    state = State()
    first: dict[int, int] = {}
    for event in journal.read(JOURNAL):
        if isinstance(event, ev.Launched) and event.number is not None and event.number not in first:
            first[event.number] = event.seed
            scores = state.scores[state.incumbent]
            mean = sum(scores.values()) / len(scores)
            assert abs(scores[event.seed] - mean) == pytest.approx(min(abs(score - mean) for score in scores.values()))
        apply(state, event)
    assert len(first) >= 40
