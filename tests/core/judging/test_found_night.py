"""Recorded nights of real trainings on two shared cores, in which `search` found something.

The agent of `found` was mended on the way (#13). `fifty` has 50 experiments and knew nothing of earlier runs. `default-50` has 50 as
well, and ran as `make run ARGS="--headless --max-experiments 50"` does.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from core.judging import final_check, gain, schedule
from core.record import journal
from core.record.fold import fold
from core.record.state import State

RECORDED = Path(__file__).resolve().parents[2] / "recorded"


def read(name: str) -> State:
    return fold(journal.read(RECORDED / name / journal.NAME))


@pytest.fixture(scope="module", params=["found", "fifty", "default-50"])
def night(request: pytest.FixtureRequest) -> State:
    return read(request.param)


@pytest.mark.parametrize("name", ["found", "fifty"])
def test_its_gain_holds_on_fresh_seeds_and_on_text_that_no_experiment_saw(name: str) -> None:
    night = read(name)
    sigma = schedule.noise(night).sigma
    fresh, so_far = final_check.outcome(night, sigma), gain.so_far(night, sigma)
    assert len(night.kept) >= 3 and fresh is not None and so_far is not None
    assert fresh.holds and fresh.seeds == 3 and fresh.change < -0.02
    assert so_far.change < fresh.change, "what was chosen by its score looks a little too good"
    assert fresh.change < 0.6 * so_far.change, "but most of it holds"


def test_at_the_defaults_the_gain_holds_as_a_whole_and_change_by_change() -> None:
    night = read("default-50")
    assert night.config is not None and night.config.approval == "auto" and night.judged == 50
    sigma = schedule.noise(night).sigma
    fresh, steps = final_check.outcome(night, sigma), final_check.steps(night, sigma)
    assert fresh is not None and fresh.holds and fresh.seeds == 8 and fresh.change < -0.02
    assert (
        list(steps) == night.kept and len(steps) == 2 and all(step.holds and step.seeds == 8 for step in steps.values())
    )
    assert sum(step.change for step in steps.values()) == pytest.approx(fresh.change)


def test_what_people_see_agrees(night: State) -> None:
    sigma, scale = schedule.noise(night).sigma, gain.Scale(night)
    found = gain.so_far(night, sigma)
    steps = [scale.change(night.experiments[number]) for number in night.kept]
    assert found is not None and sum(step for step in steps if step is not None) == pytest.approx(found.change)
    scores = [scale.of(night.experiments[number]) for number in night.kept]
    assert scores == sorted(scores, key=lambda score: -(score or 0.0)), "each kept change is better than the one before"
    for experiment in night.experiments.values():
        own, parent = scale.of(experiment), scale.score(experiment.parent)
        if own is not None and parent is not None and experiment.gain is not None and not experiment.kept_as:
            assert (own < parent) is (experiment.gain > 0), "a score agrees with its verdict"
