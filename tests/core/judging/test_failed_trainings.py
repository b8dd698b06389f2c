"""What comes next after trainings that failed or were disturbed: of the best, and of a change that is to be confirmed."""

from __future__ import annotations

from msgspec.structs import replace

from core.judging.schedule import (
    REMEASURE_EVERY,
    Work,
    assess,
)
from core.model import Role
from core.record import events as ev
from core.record.fold import fold
from core.record.state import FAILED_TRIES
from core.verdicts import Verdict
from nanochat.contract.job import Outcome
from tests.core.judging.test_schedule import proposed, scored, state, todo


def test_trouble_of_the_best_is_forgotten_once_it_was_measured_well() -> None:
    bad = scored("fit", 1.6, 1, role=Role.INCUMBENT)
    disturbed = [bad[0], replace(bad[1], disturbed="a game ran")]
    failed = [bad[0], replace(bad[1], result=replace(bad[1].result, outcome=Outcome.CRASH, val_bpb=None))]
    found = state(disturbed, disturbed, failed)
    assert found.disturbances == {"fit": 2} and found.failures == {"fit": {bad[1].seed: 1}}
    fold([bad[0], replace(bad[1], disturbance_ignored="a game ran, as each time")], found)
    assert found.disturbances == {"fit": 2}, "that one was taken for want of a better"
    fold(bad, found)
    assert not found.disturbances and not found.failures


def failed(index: int, number: int | None = None) -> list[ev.AnyEvent]:
    """The incumbent fails on a seed as often as it is tried there."""
    launched, ended = scored("fit", 1.6, index, "best", number)
    assert isinstance(ended, ev.Measured)
    return [launched, replace(ended, result=replace(ended.result, outcome=Outcome.CRASH, val_bpb=None))] * FAILED_TRIES


def test_a_seed_on_which_the_best_fails_is_left_out() -> None:
    """Otherwise no change that needs a further seed would be kept for the rest of the night."""
    found = state(proposed(1), scored("c1", 1.5, number=1), scored("c1", 1.5, 1, "confirm", 1), failed(1, number=1))
    assert todo(found) == [("confirm", "c1", 2), ("best", "fit", 2)], "the next seed takes its place"
    fold([*scored("c1", 1.5, 2, "confirm", 1), *scored("fit", 1.6, 2, "best", 1)], found)
    judged = assess(found, found.open[1], 0.01)
    assert isinstance(judged, ev.Judged) and judged.verdict is Verdict.KEEP and judged.pairs == 2
    fold([judged, *proposed(2), *scored("c2", 1.5, number=2)], found)
    assert ("best", "fit", 1) not in todo(found), "it is left out for later changes too"


def test_after_two_such_seeds_a_change_is_dropped_and_a_score_makes_an_end_of_it() -> None:
    found = state(proposed(1), scored("c1", 1.58, number=1), failed(1, number=1), failed(2, number=1))
    fold(scored("c1", 1.58, 3, "confirm", 1), found)
    judged = assess(found, found.open[1], 0.01)
    assert isinstance(judged, ev.Judged) and judged.verdict is Verdict.DISCARD and "on each of 2 seeds" in judged.reason
    found.judged_since_incumbent = REMEASURE_EVERY
    fold([judged], found)
    (again,) = todo(found)
    assert again == ("best", "fit", 3), "its regular repeat goes on, on another seed"
    fold(failed(3), found)
    assert todo(found) == [], "and waits for further verdicts once it has failed there too"
    fold(scored("fit", 1.6, 4, "best"), found)
    assert not found.failures


def test_a_disturbance_on_each_of_several_seeds_costs_no_change_its_pairs() -> None:
    def disturbed(index: int) -> list[ev.AnyEvent]:
        launched, ended = scored("c1", 1.58, index, "confirm", 1)
        assert isinstance(ended, ev.Measured)
        return [launched, replace(ended, disturbed="a game ran")]

    found = state(proposed(1), scored("c1", 1.58, number=1))
    for index in (1, 2):
        fold(
            [*disturbed(index), *scored("c1", 1.58, index, "confirm", 1), *scored("fit", 1.6, index, "best", 1)], found
        )
        assert isinstance(assess(found, found.open[1], 0.01), Work), "each training is repeated once"
    fold([*disturbed(3), *disturbed(3)], found)
    judged = assess(found, found.open[1], 0.01)
    assert isinstance(judged, ev.Judged) and judged.verdict is Verdict.DISTURBED
