"""What a run measures at the same time where several slots are free, and what happens to promising changes when there is a new best."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from core.judging.schedule import Rebase, Work, assess, next_work
from core.model import Role
from core.record import events as ev
from core.record.fold import fold
from core.record.state import FAILED_SEEDS, FAILED_TRIES, State
from core.verdicts import Verdict
from nanochat.contract.job import Outcome
from tests.core.judging.test_schedule import SEED, kept, proposed, scored, state, todo


def with_slots(found: State, slots: int) -> State:
    assert found.config is not None
    found.config = replace(found.config, slots=slots)
    return found


@pytest.mark.parametrize(("slots", "seeds"), [(1, 1), (3, 1), (4, 2), (8, 2), (9, 3), (100, 5)])
def test_a_likely_gain_is_measured_on_several_seeds_at_once_where_there_are_many_slots(slots: int, seeds: int) -> None:
    found = with_slots(state(proposed(1), scored("c1", 1.579, number=1), proposed(2)), slots)
    batch = [("confirm", "c1", index + 1) for index in range(seeds)]
    best = [("best", "fit", index + 1) for index in range(seeds)]
    assert todo(found) == [*batch, *best, ("candidate", "c2", 0)]


def test_a_gain_that_would_not_be_kept_is_measured_on_one_more_seed() -> None:
    found = with_slots(state(proposed(1), scored("c1", 1.591, number=1)), 16)
    assert todo(found) == [("confirm", "c1", 1), ("best", "fit", 1)]


def test_while_a_batch_runs_the_best_gets_the_scores_that_it_lacks_and_no_other_seed_is_begun() -> None:
    found = with_slots(state(proposed(1), scored("c1", 1.579, number=1)), 9)
    batch = [work for work in next_work(found, 0.01) if work.role is Role.REPLICATE]
    assert len(batch) == 3
    fold([launch(work) for work in batch[:2]], found)
    assert todo(found) == [("best", "fit", 1), ("best", "fit", 2)]
    fold(scored("fit", 1.6, 1, "best", 1), found)
    assert todo(found) == [("best", "fit", 2)]
    fold(scored("c1", 1.57, 1, "confirm", 1), found)
    assert todo(found) == [("best", "fit", 2)], "the candidate still trains on it"


def test_a_change_that_gained_before_it_was_re_applied_is_measured_on_several_seeds_at_once() -> None:
    new = ev.Judged(number=1, verdict=Verdict.KEEP, finding="f", commit="k1")
    theirs = [*scored("c1", 1.5, 0, number=1), *scored("c1", 1.5, 1, "confirm", 1), *scored("fit", 1.6, 1, "best")]
    more = scored("c2", 1.55, 1, "confirm", 2)
    gained = with_slots(state(proposed(1), proposed(2), scored("c2", 1.55, number=2), more, theirs, [new]), 16)
    assert assess(gained, gained.open[2], 0.01) == Rebase(2)
    fold([ev.Rebased(number=2, commit="r2", parent="k1", fingerprint="q", nodes=500)], gained)
    assert todo(gained) == [("candidate", "r2", 0), ("confirm", "r2", 1)], "two pairs would do"


def launch(work: Work) -> ev.Launched:
    job = f"{work.commit}{SEED.index(work.seed)}{work.role}"
    return ev.Launched(job=job, role=work.role, commit=work.commit, seed=work.seed, slot=0, number=work.number)


def test_a_stale_change_that_looks_promising_is_first_compared_with_its_own_parent_to_the_end() -> None:
    """Each keep would begin the comparison of all promising changes anew. With many slots they would never end."""
    first = [*proposed(1), *scored("c1", 1.5, number=1), *scored("fit", 1.6, 1, "best"), *kept(1)]
    found = state(proposed(2), first, scored("c2", 1.58, number=2))
    assert assess(found, found.open[2], 0.01) == Work(Role.REPLICATE, "c2", SEED[1], 2)


def overtaken(*more: list[ev.AnyEvent], nodes: int = 500) -> State:
    """A second change is measured while the first, which is far better, becomes the best."""
    scores = [*scored("c1", 1.5, number=1), *scored("c1", 1.5, 1, "confirm", 1), *scored("fit", 1.6, 1, "best")]
    first = [*proposed(1), *scores, *kept(1)]
    return state(proposed(2, nodes=nodes), first, *more)


def test_a_simplification_that_was_overtaken_is_not_compared_with_the_score_of_the_new_best() -> None:
    same = [*scored("c2", 1.6, number=2), *scored("c2", 1.6, 1, "confirm", 2)]
    found = overtaken(same, nodes=400)
    assert assess(found, found.open[2], 0.01) == Rebase(2)


def test_a_promising_change_is_re_applied_if_its_parent_cannot_be_trained_any_more() -> None:
    def crashed(index: int) -> list[ev.AnyEvent]:
        launched, ended = scored("fit", 1.6, index, "best", 2)
        assert isinstance(ended, ev.Measured)
        return [launched, replace(ended, result=replace(ended.result, outcome=Outcome.CRASH, val_bpb=None))]

    failures = [crashed(index) for index in range(1, FAILED_SEEDS + 1) for _ in range(FAILED_TRIES)]
    found = state(proposed(2), scored("c2", 1.58, number=2), *failures)
    fold([*proposed(1), *scored("c1", 1.5, number=1), *kept(1), *scored("c2", 1.58, 3, "confirm", 2)], found)
    assert assess(found, found.open[2], 0.01) == Rebase(2)


def test_a_retry_that_has_scores_waits_for_its_turn_like_a_new_experiment() -> None:
    cut = ev.Judged(number=1, verdict=Verdict.INTERRUPTED, finding="f")
    again, approved = proposed(2)
    assert isinstance(again, ev.Proposed)
    retry = [replace(again, commit="c1", retry_of=1), approved]
    found = state(proposed(1), scored("c1", 1.58, number=1), [cut], retry, proposed(3))
    assert todo(found, only_started=True) == []
    assert todo(found) == [("confirm", "c1", 1), ("best", "fit", 1), ("candidate", "c3", 0)]


def test_a_training_of_the_best_is_not_repeated_because_another_node_has_joined() -> None:
    running = ev.Launched(job="j", role=Role.INCUMBENT, commit="fit", seed=SEED[1], slot=0, number=1, nodes=("a", "b"))
    same = Work(Role.INCUMBENT, "fit", SEED[1], 2, ("b", "c"))
    assert same.is_same(running) and not Work(Role.INCUMBENT, "fit", SEED[1], 2, ("c",)).is_same(running)
    assert not Work(Role.INCUMBENT, "fit", SEED[2], 2, ("b", "c")).is_same(running)
