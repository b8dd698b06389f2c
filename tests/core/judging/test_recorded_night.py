"""A recorded A/A night: real trainings under a changing load, of edits that change nothing. Any kept change is a mistake."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from core.judging import schedule
from core.machine import profiles
from core.record import events as ev
from core.record import journal
from core.record.fold import apply
from core.record.state import State
from core.verdicts import Verdict

JOURNAL = Path(__file__).resolve().parents[2] / "recorded" / "aa-night" / journal.NAME


BEFORE, NOW = "the prior of that run", "the prior of this version"


def events(prior: str) -> Iterator[ev.AnyEvent]:
    """Return the night's events, as if it had begun with this prior."""
    for event in journal.read(JOURNAL):
        if isinstance(event, ev.Created) and prior == NOW:
            config = event.config
            now = profiles.named(config.profile).noise_prior(config.budget_s)
            assert now < config.noise_prior
            event = msgspec.structs.replace(event, config=msgspec.structs.replace(config, noise_prior=now))
        yield event


@pytest.mark.parametrize(("prior", "worse"), [(BEFORE, 0), (NOW, 2)])
def test_the_rule_keeps_none_and_calls_few_worse(prior: str, worse: int) -> None:
    """The night was recorded with a larger estimate of the noise. The present one measures some of its gains again."""
    state, judged, again, called_worse = State(), 0, 0, 0
    for event in events(prior):
        if isinstance(event, ev.Judged) and event.verdict is not Verdict.INTERRUPTED:
            step = schedule.assess(state, state.experiments[event.number], schedule.noise(state).sigma)
            if isinstance(step, ev.Judged):
                called_worse += not step.within_noise
                assert step.verdict is event.verdict, event
                assert (step.pairs, step.gain) == (event.pairs, pytest.approx(event.gain))
            else:
                again += 1
            judged += 1
        apply(state, event)
    assert judged == state.judged >= 40 and state.kept == []
    assert called_worse <= worse and again <= judged / 3


@pytest.mark.parametrize(("prior", "error"), [(BEFORE, 0.3), (NOW, 0.25)])
def test_the_noise_is_near_the_scatter_of_one_score_on_one_seed(prior: str, error: float) -> None:
    """Scores over seeds scatter two to three times as much: a pair cancels that."""
    state = State()
    for event in events(prior):
        apply(state, event)
    firsts = [
        next(iter(state.scores[e.commit].values())) for e in state.experiments.values() if e.commit in state.scores
    ]
    true, seeds = statistics.stdev(firsts), statistics.stdev(state.scores[state.incumbent].values())
    noise = schedule.noise(state)
    assert seeds > 2 * true and noise.sigma == pytest.approx(true, rel=error)
    low, high = noise.interval
    assert low < true < high


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
