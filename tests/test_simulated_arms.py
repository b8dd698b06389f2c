"""The arms that simulated nights compare `search` with (benchmarks/)."""

from __future__ import annotations

import random
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from core.agents.base import PastExperiment
from core.agents.search.joint import FAILED_GAIN, Record
from core.change import edits, knobs
from core.model import Notes, Proposal
from core.target import TARGET
from core.verdicts import Verdict
from tests.benchmark import benchmark

ROOT = Path(__file__).resolve().parent.parent
SOURCE = (ROOT / "nanochat" / "train.py").read_text()
ARMS = ("search", "panels", "search+panels", "old", "tpe", "cmaes", "random", "untold")


@pytest.fixture(scope="module")
def searches() -> ModuleType:
    return benchmark("search_worlds")


@pytest.fixture(scope="module")
def panels() -> ModuleType:
    return benchmark("panel_design")


class Quiet(random.Random):
    """Chance without noise."""

    def gauss(self, mu: float = 0.0, sigma: float = 1.0) -> float:
        return mu


def plain_night(searches: ModuleType, trainings: int, **effects: float) -> Any:
    """Return a night in a world in which knobs do nothing and all ideas lose, except for these ideas ("_" for "-")."""
    world = searches.World(searches.Kind(), SOURCE, 1)
    world._curve, world._pairs = dict.fromkeys(world._curve, 0.0), []
    world._edits = dict.fromkeys(world._edits, -4.0) | {name.replace("_", "-"): gain for name, gain in effects.items()}
    return searches.Night(world, SOURCE, 1, trainings + 1)


# -- all arms ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_proposes_the_same_from_the_same_record(searches: ModuleType, arm: str) -> None:
    one, same, other = (searches.run(arm, searches.KINDS["plain"], SOURCE, seed, 16) for seed in (1, 1, 2))
    assert list(one.sources) == list(same.sources) != list(other.sources), "the versions that it has tried, in order"
    assert one.scores == same.scores and len(one.curve) == 16


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_finds_a_large_gain(searches: ModuleType, arm: str) -> None:
    """MATRIX_LR is 1.3 steps too low, which costs 17 standard deviations. Nothing else does anything."""
    world = searches.World(searches.Kind(), SOURCE, 1)
    world._curve, world._pairs = dict.fromkeys(world._curve, 0.0), []
    world._edits = dict.fromkeys(world._edits, 0.0)
    world._curve["MATRIX_LR"], world._best["MATRIX_LR"] = 10.0, 1.3
    night = searches.Night(world, SOURCE, 1, 61)
    assert night.truth(night.incumbent) == 0.0
    with searches.contextlib.suppress(StopIteration, searches.AgentFailed):
        searches.ARMS[arm](night)
    assert night.truth(night.incumbent) > 8 and night.keeps


def test_all_arms_are_compared(searches: ModuleType) -> None:
    assert sorted(searches.ARMS) == sorted(ARMS)


def test_arms_are_compared_by_ratio_and_by_difference(searches: ModuleType) -> None:
    def night(arm: str, seed: int, gain: float) -> Any:
        records = benchmark("simulated_record")
        return records.Row(
            kind="plain", arm=arm, seed=seed, trainings=1, curve=(gain,), keeps=(), mistakes=(), seconds=0.0, counts={"failed": seed}
        )  # fmt: skip

    nights = {
        ("plain", arm): [night(arm, seed, gain) for seed, gain in enumerate(gains, 1)]
        for arm, gains in (("search", (5.0, 6.0, 7.0)), ("old", (2.0, 2.0, 2.0)))
    }
    assert searches.ratios(nights, [1])[0].split() == ["plain", "old", "3.00", "±", "0.29"]
    assert searches.ratios(nights, [1], searches.difference)[0].split() == ["plain", "old", "4.00", "±", "0.58"]
    assert searches.line(nights["plain", "old"], [1]).split() == ["plain", "old", "2.00", "0.0", "0.00", "2.0", "0.0"]


# -- panels -----------------------------------------------------------------------------------------------------------


def test_each_change_is_in_half_of_the_runs_and_each_two_in_a_quarter(panels: ModuleType) -> None:
    design = np.array(panels.design(), dtype=int)
    assert design.shape == (12, 11) and not design[-1].any() and len({tuple(row) for row in design}) == 12
    assert np.array_equal(design.T @ design, np.full((11, 11), 3) + np.diag([3] * 11))


def test_a_panel_finds_the_effects_of_its_changes_with_one_training_for_each_run(
    searches: ModuleType, panels: ModuleType
) -> None:
    night = plain_night(searches, 30)
    night._dice = Quiet()
    night.scores[night.incumbent] = dict.fromkeys(night.scores[night.incumbent], searches.START)
    pool = [panels.Single(name) for name in sorted(TARGET_NAMES)]
    taken = panels.fitting_together(SOURCE, [*pool[:20], panels.Single("MATRIX_LR", 0.034, True)])
    assert len(taken) == 11
    for place, one in enumerate(taken):
        night.world._edits[one.name] = place - 5.0
    left, found = night.left, panels.effects(taken, panels.train(night, taken))
    assert left - night.left == 11, "the run without any change is the best, which has a score"
    assert [effect for effect, _ in found] == pytest.approx([place - 5.0 for place in range(11)])
    assert [error for _, error in found] == pytest.approx([3**-0.5] * 11)


TARGET_NAMES = [entry.name for entry in TARGET.book]


def test_only_what_fits_together_is_in_a_panel(panels: ModuleType) -> None:
    kinds: dict[str, list[str]] = {}
    for entry in TARGET.book:
        kinds.setdefault(entry.instead, []).append(entry.name)
    one, other = next(names for kind, names in sorted(kinds.items()) if kind and len(names) > 1)[:2]
    low, high = panels.Single("MATRIX_LR", 0.012), panels.Single("MATRIX_LR", 0.034, True)
    taken = panels.fitting_together(SOURCE, [panels.Single(one), panels.Single(other), low, high])
    assert taken == [panels.Single(one), low]
    found = panels.together(SOURCE, taken)
    assert knobs.moved(SOURCE, found.source) == {"MATRIX_LR": (0.02, 0.012)} and found.notes.edits == (one,)
    assert panels.together(SOURCE, [panels.Single(one), panels.Single(other)]) is None, "one replaces the other"
    assert panels.together(SOURCE, [panels.Single("HEAD_DIM", 256)]) is None, "wider than the model"


def test_changes_that_are_too_small_alone_are_kept_together_after_a_panel(searches: ModuleType) -> None:
    arm = benchmark("arm_panels")
    names = [
        one.name
        for one in benchmark("panel_design").fitting_together(SOURCE, [arm.Single(name) for name in TARGET_NAMES])
    ]
    night = plain_night(searches, 160, **dict.fromkeys(names, 1.5))
    night.world._curve, night.world._best = (
        dict.fromkeys(night.world._curve, 4.0),
        dict.fromkeys(night.world._best, 0.0),
    )
    with searches.contextlib.suppress(StopIteration):
        arm.Panels(night).run()
    kept = night.ideas[night.incumbent]
    assert len(kept) >= 4 and kept <= set(names), "what loses is not kept"
    assert len(night.keeps) < len(kept), "several at once"


# -- the old policy ---------------------------------------------------------------------------------------------------


def near_miss(number: int, parent: str, name: str, verdict: Verdict = Verdict.DISCARD) -> PastExperiment:
    entry = next(entry for entry in TARGET.book if entry.name == name)
    changed = edits.apply(SOURCE, entry.edits)
    return PastExperiment(
        number=number, parent=parent, fingerprint=edits.fingerprint(changed), verdict=verdict, gain=0.004, seeds=(1,),
        structural=True, proposal=Proposal(hypothesis="h", topic=entry.topic, notes=Notes(edits=(name,))),
    )  # fmt: skip


def test_the_old_policy_puts_near_misses_on_the_present_best_together_and_forgets_others(searches: ModuleType) -> None:
    arm, night = benchmark("arm_old"), plain_night(searches, 10)
    one, other = (
        single.name
        for single in benchmark("panel_design").fitting_together(SOURCE, [*map(arm.Single, TARGET_NAMES)])[:2]
    )
    for parent, together in ((night.incumbent, True), ("an earlier best", False)):
        night.past = [near_miss(1, parent, one), near_miss(2, parent, other), *(near_miss(n, "", one) for n in (3, 4))]
        proposal = arm.Old().propose_now(night.context())
        assert (set(proposal.notes.edits or ()) == {one, other}) is together
        assert proposal == arm.Old().propose_now(night.context())


def test_the_old_policy_begins_with_the_knob_that_matters_most_and_repeats_a_kept_step(searches: ModuleType) -> None:
    arm, night = benchmark("arm_old"), plain_night(searches, 10)
    first = arm.Old().propose_now(night.context())
    assert first.notes.step == "DEPTH down" and first.notes.before == {"DEPTH": 2}
    moved = knobs.set_knobs(SOURCE, {"MATRIX_LR": 0.034})
    version = night._known(moved, frozenset())
    notes = Notes(knobs={"MATRIX_LR": 0.034}, before={"MATRIX_LR": 0.02})
    night.past = [
        PastExperiment(
            number=1, parent=night.incumbent, fingerprint=version, verdict=Verdict.KEEP,
            proposal=Proposal(hypothesis="h", notes=notes),
        )
    ]  # fmt: skip
    night.scores[version], night.incumbent = {1: 1.4}, version
    further = arm.Old().propose_now(night.context())
    assert further.notes.knobs == {"MATRIX_LR": pytest.approx(0.0578)}


# -- CMA-ES -----------------------------------------------------------------------------------------------------------


def test_cmaes_finds_the_minimum_of_a_rotated_ellipsoid() -> None:
    arm, n = benchmark("arm_cmaes"), 6
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((n, n)))[0]
    scales = np.logspace(0, 3, n)

    def loss(point: np.ndarray) -> float:
        return float(scales @ np.square(rotation @ (point - 0.5)))

    strategy = arm.Cmaes(np.zeros(n), 0.3, 1)
    first = loss(strategy.mean)
    for _ in range(300):
        candidates = [strategy.draw() for _ in range(strategy.size)]
        strategy.tell(candidates, [loss(point) for point in candidates])
    assert loss(strategy.mean) < 1e-9 < 1 < first
    values = np.linalg.eigvalsh(strategy._covariance)
    assert values[-1] / values[0] > 50, "its steps are longest where the loss is flat"


def test_cmaes_begins_at_the_present_values(searches: ModuleType) -> None:
    arm, found = benchmark("arm_cmaes"), benchmark("arms").important(SOURCE)
    ranges = {name: searches.range_for(knob) for name, knob in found.items()}
    places = arm.shares(ranges, found)
    assert {name: ranges[name].at(place) for name, place in zip(ranges, places, strict=True)} == {
        name: pytest.approx(knob.value) for name, knob in found.items()
    }


# -- values that failed -----------------------------------------------------------------------------------------------


def test_the_model_can_be_left_without_the_loss_of_a_value_that_failed(searches: ModuleType) -> None:
    every = {knob.name: knob for knob in knobs.read(SOURCE)}
    failed = PastExperiment(
        number=1, parent="a", fingerprint="b", verdict=Verdict.CRASH, constants={"MATRIX_LR": (0.02, 0.06)},
        proposal=Proposal(hypothesis="h", notes=Notes(knobs={"MATRIX_LR": 0.06})),
    )  # fmt: skip
    assert [row.gain for row in Record([failed], every, 0.004).rows] == [FAILED_GAIN]
    with searches.failures_untold():
        assert Record([failed], every, 0.004).rows == []
    assert len(Record([failed], every, 0.004).rows) == 1
