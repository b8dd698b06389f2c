"""The gain so far, and the scores on one scale."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.judging import gain
from core.record import events as ev
from core.record import journal
from core.record.experiment import Experiment
from core.record.fold import apply, fold
from core.record.state import State
from core.reporting import phrases
from core.verdicts import Verdict
from tests.core.run.test_active import CONFIG
from tests.events import measurement

RECORDED = Path(__file__).resolve().parents[2] / "recorded"
LUCK = {1: 0.0, 2: 0.05, 3: -0.02}  # of a seed: larger than any effect


def proposed(number: int, parent: str) -> ev.Proposed:
    return ev.Proposed(number=number, commit=f"c{number}", parent=parent, fingerprint=str(number), agent="search", charter="",
                       hypothesis=f"Change {number}.")  # fmt: skip


def scored(role: str, commit: str, seed: int, level: float, number: int | None = None) -> ev.Measured:
    return measurement(role=role, commit=commit, seed=seed, number=number, val_bpb=level + LUCK[seed])


def judged(number: int, verdict: Verdict, change: float, pairs: int = 2) -> ev.Judged:
    commit = f"k{number}" if verdict.kept else ""
    return ev.Judged(
        number=number, verdict=verdict, finding="", gain=-change, error=0.001, pairs=pairs, sigma=0.002, commit=commit
    )


def night(*more: ev.AnyEvent) -> State:
    return fold([
        ev.Created(v=ev.SCHEMA, config=CONFIG, t=100.0), ev.StartCommit(commit="start", source_hash="", nodes=100),
        scored("baseline", "start", 1, 1.5), scored("best", "start", 2, 1.5), *more,
    ])  # fmt: skip


KEPT = (
    proposed(1, "start"),
    scored("candidate", "c1", 1, 1.49, 1),
    scored("confirm", "c1", 2, 1.49, 1),
    judged(1, Verdict.KEEP, -0.01),
)


def test_the_gain_is_paired_whatever_seeds_each_was_measured_on() -> None:
    state = night(*KEPT, scored("best", "k1", 3, 1.49))
    found = gain.so_far(state, 0.002)
    assert found is not None and state.mean("k1") != pytest.approx(1.49)
    assert found.start == pytest.approx(1.525) and found.change == pytest.approx(-0.01) and found.seeds == 2
    assert found.error == pytest.approx(0.002)
    assert phrases.scores(found) == "1.5250 -> 1.5150 (-0.0100 ± 0.0020)"


def test_without_kept_changes_the_gain_is_zero() -> None:
    found = gain.so_far(night(), 0.002)
    assert found is not None and (found.change, found.error) == (0.0, 0.0)
    assert phrases.scores(found) == "1.5250 (mean of 2 seeds), no change kept"
    assert gain.so_far(fold([ev.Created(v=ev.SCHEMA, config=CONFIG, t=1.0)]), 0.002) is None


def test_a_score_agrees_with_the_verdict_on_a_lucky_seed() -> None:
    """By its raw score, on the luckiest seed, a worse change would be the best of the run."""
    state = night(
        *KEPT,
        scored("best", "k1", 3, 1.49),
        proposed(2, "k1"),
        scored("candidate", "c2", 3, 1.495, 2),
        judged(2, Verdict.DISCARD, 0.005, 1),
    )
    worse = state.experiments[2]
    best = gain.score(state, state.incumbent)
    assert worse.val_bpb is not None and best is not None and worse.val_bpb < best
    assert gain.experiment_score(state, worse) == pytest.approx(best + 0.005)
    assert gain.Scale(state).change(worse) == pytest.approx(0.005)


def test_a_best_without_a_seed_of_the_start_is_compared_with_the_one_before() -> None:
    state = night(
        *KEPT,
        scored("best", "k1", 3, 1.49),
        proposed(2, "k1"),
        scored("candidate", "c2", 3, 1.47, 2),
        judged(2, Verdict.KEEP, -0.02, 1),
    )
    found = gain.so_far(state, 0.002)
    assert found is not None and found.change == pytest.approx(-0.03) and found.seeds == 0
    assert gain.experiment_score(state, state.experiments[2]) == found.best
    assert found.error == pytest.approx(0.002 * (2 / 2 + 2 / 1) ** 0.5), "that of both steps"


def test_an_experiment_without_a_verdict_has_the_change_so_far() -> None:
    state = night(proposed(1, "start"), scored("candidate", "c1", 2, 1.48, 1))
    assert gain.Scale(state).change(state.experiments[1]) == pytest.approx(-0.02)
    assert gain.experiment_score(state, state.experiments[1]) == pytest.approx(1.505)
    state = night(proposed(1, "start"))
    assert gain.experiment_score(state, state.experiments[1]) is None
    assert gain.Scale(state).change(state.experiments[1]) is None


def test_the_gain_of_an_open_experiment_is_that_over_the_parent_before_until_it_has_a_pair_again() -> None:
    steps = [proposed(2, "start"), scored("candidate", "c2", 1, 1.48, 2)]
    found = gain.of_open(night(steps[0]), night(steps[0]).open[2], 0.002)
    assert found is None, "it has no score"
    state = night(*steps)
    found = gain.of_open(state, state.open[2], 0.002)
    assert found is not None and found.gain == pytest.approx(0.02) and found.error == pytest.approx(0.002 * 2**0.5)
    assert (found.parent, found.seeds) == ("start", (1,))
    again = ev.Rebased(number=2, commit="r2", parent="k1", fingerprint="x")
    state = night(*steps, *KEPT, again)
    assert gain.of_open(state, state.open[2], 0.002) == found
    state = night(*steps, *KEPT, again, scored("candidate", "r2", 2, 1.475, 2))
    found = gain.of_open(state, state.open[2], 0.002)
    assert found is not None and (found.parent, found.seeds) == ("k1", (2,)) and found.gain == pytest.approx(0.015)


def test_one_common_seed_does_not_outweigh_the_way_over_the_parent() -> None:
    """The best shares one unlucky seed with the start, and three with its parent, which shares two with the start."""
    one = (proposed(1, "start"), scored("candidate", "c1", 1, 1.49, 1), scored("confirm", "c1", 2, 1.49, 1))
    more = (scored("best", "k1", 3, 1.49), proposed(2, "k1"), scored("candidate", "c2", 3, 1.48, 2))
    luck = measurement(role="confirm", commit="c2", seed=1, number=2, val_bpb=1.505)
    state = night(*one, judged(1, Verdict.KEEP, -0.01), *more, luck, judged(2, Verdict.KEEP, -0.005, 2))
    place = gain.Scale(state).place(state.incumbent)
    assert place is not None and place.pairs == 0 and place.variance == 2 / 2 + 2 / 2, "by way of the parent"
    state = night(
        *one,
        judged(1, Verdict.KEEP, -0.01),
        *more,
        luck,
        scored("confirm", "c2", 2, 1.48, 2),
        judged(2, Verdict.KEEP, -0.005, 3),
    )
    place = gain.Scale(state).place(state.incumbent)
    assert place is not None and place.pairs == 2 and place.variance == 1.0


def test_a_single_pair_with_the_start_shifts_no_step_away_from_its_own_pairs() -> None:
    """By the one pair with the start, the last of three changes would seem to have gained almost nothing."""
    state = night(
        *KEPT,
        proposed(2, "k1"),
        scored("best", "k1", 3, 1.49),
        scored("candidate", "c2", 3, 1.47, 2),
        judged(2, Verdict.KEEP, -0.02, 1),
        scored("best", "k2", 1, 1.47),
        proposed(3, "k2"),
        scored("candidate", "c3", 3, 1.455, 3),
        measurement(role="confirm", commit="c3", seed=1, number=3, val_bpb=1.465),
        judged(3, Verdict.KEEP, -0.01, 2),
    )
    scale = gain.Scale(state)
    step, error = scale.change(state.experiments[3]), scale.error(state.experiments[3], 0.002)
    assert step == pytest.approx(-0.01) and error == 0.001, "as its two pairs say, which the verdict came from"
    assert scale.pairs(state.experiments[3]) == 2


def test_the_steps_of_kept_changes_add_up_to_the_gain() -> None:
    state = night(
        *KEPT,
        scored("best", "k1", 3, 1.49),
        proposed(2, "k1"),
        scored("candidate", "c2", 3, 1.47, 2),
        judged(2, Verdict.KEEP, -0.02, 1),
    )
    scale, found = gain.Scale(state), gain.so_far(state, 0.002)
    steps = [scale.change(state.experiments[number]) for number in state.kept]
    assert found is not None and sum(step for step in steps if step is not None) == pytest.approx(found.change)


def test_a_rerun_moves_the_score_of_an_experiment() -> None:
    state = night(proposed(1, "start"), scored("candidate", "c1", 1, 1.495, 1), judged(1, Verdict.DISCARD, -0.005, 1))
    assert gain.experiment_score(state, state.experiments[1]) == pytest.approx(1.52)
    apply(state, scored("rerun", "c1", 2, 1.515, 1))
    assert gain.experiment_score(state, state.experiments[1]) == pytest.approx(1.53)


def test_a_long_chain_of_kept_changes_works() -> None:
    """None of them shares a seed with the start."""
    LUCK.update(dict.fromkeys(range(10, 3000), 0.0))
    events: list[ev.AnyEvent] = [scored("best", "start", 10, 1.5)]
    for number in range(1, 1200):
        parent = f"k{number - 1}" if number > 1 else "start"
        events += [
            proposed(number, parent),
            scored("candidate", f"c{number}", number + 9, 1.5, number),
            judged(number, Verdict.KEEP, -0.001, 1),
        ]
        events.append(scored("best", f"k{number}", number + 10, 1.5))
    found = gain.so_far(night(*events), 0.002)
    assert found is not None and found.change < -1.0


def contrast(state: State, first: int, second: int) -> gain.Contrast | None:
    one, other = (state.experiments[number] if number else None for number in (first, second))
    return gain.Scale(state).contrast(one, other, 0.002)


def test_a_contrast_with_the_parent_is_the_change_of_the_table() -> None:
    state = night(*KEPT, scored("best", "k1", 3, 1.49), proposed(2, "k1"), scored("candidate", "c2", 3, 1.495, 2),
                  judged(2, Verdict.DISCARD, 0.005, 1))  # fmt: skip
    scale, found = gain.Scale(state), contrast(state, 1, 2)
    assert found == (scale.change(state.experiments[2]), scale.error(state.experiments[2], 0.002), 1)
    back = contrast(state, 2, 1)
    assert found is not None and back is not None and back == (-found.change, found.error, found.seeds)


def test_a_contrast_of_start_and_best_is_the_gain() -> None:
    state = night(*KEPT, scored("best", "k1", 3, 1.49), proposed(2, "k1"), scored("candidate", "c2", 3, 1.47, 2),
                  judged(2, Verdict.KEEP, -0.02, 1))  # fmt: skip
    found, gained = contrast(state, 0, 2), gain.so_far(state, 0.002)
    assert found is not None and gained is not None
    assert found.change == pytest.approx(gained.change) and found.error == pytest.approx(gained.error)


def test_a_contrast_on_common_seeds_has_none_of_their_luck() -> None:
    """Two candidates of one parent: on two common seeds each, then on one seed each that the other lacks."""
    both = [proposed(1, "start"), proposed(2, "start")]
    both += [
        scored("candidate", f"c{n}", seed, 1.5 + change, n) for n, change in ((1, 0.01), (2, 0.03)) for seed in (1, 2)
    ]
    state = night(*both, judged(1, Verdict.DISCARD, 0.01), judged(2, Verdict.DISCARD, 0.03))
    found = contrast(state, 1, 2)
    assert found is not None and found.seeds == 2
    assert found.change == pytest.approx(0.02) and found.error == pytest.approx(0.002 * (2 / 2) ** 0.5)
    state = night(
        proposed(1, "start"), proposed(2, "start"), scored("candidate", "c1", 1, 1.51, 1),
        scored("candidate", "c2", 2, 1.53, 2), judged(1, Verdict.DISCARD, 0.01, 1), judged(2, Verdict.DISCARD, 0.03, 1),
    )  # fmt: skip
    found = contrast(state, 1, 2)
    assert found is not None and found.seeds == 0
    assert found.change == pytest.approx(0.02) and found.error == pytest.approx(0.002 * (2 / 1 + 2 / 1) ** 0.5)


def test_two_experiments_without_pairs_cannot_be_compared() -> None:
    state = night(*KEPT, proposed(2, "k1"), proposed(3, "k1"), scored("candidate", "c3", 3, 1.4, 3))
    assert contrast(state, 1, 2) is None and contrast(state, 0, 2) is None, "#2 was not measured"
    assert contrast(state, 1, 3) is None and contrast(state, 0, 3) is None, "#3 has no seed of its parent"
    assert contrast(state, 1, 1) == (0.0, 0.0, 0)


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*/events.jsonl")), ids=lambda path: path.parent.name)
def test_contrasts_of_recorded_runs_are_the_same_from_both_sides(path: Path) -> None:
    state = fold(journal.read(path))
    scale, some = gain.Scale(state), [None, *list(state.experiments.values())[-15:]]
    for one in some:
        for other in some:
            found, back = scale.contrast(one, other, 0.002), scale.contrast(other, one, 0.002)
            assert (found is None) is (back is None)
            if found is not None and back is not None:
                assert found.change == pytest.approx(-back.change) and found.error == pytest.approx(back.error)
                same = one is other or (one is not None and other is not None and one.commit == other.commit)
                assert (found.error > 0) is not same, "an experiment that was queued again has the same train.py"


@pytest.mark.parametrize("name", ["found", "fifty", "finished", "effects-night", "human"])
def test_a_place_does_not_depend_on_whether_the_parents_are_asked(name: str) -> None:
    class Thorough(gain.Scale):
        """Asks all parents, also those that cannot matter."""

        def _is_nearest_to_start(self, kept: Experiment) -> bool:
            return False

    path = RECORDED / name / journal.NAME
    state, kept = State(), set[str]()
    for event in journal.read(path):
        apply(state, event)
        kept |= {state.experiments[number].kept_as for number in state.kept}
        if isinstance(event, ev.Measured | ev.Judged):
            for commit in kept:
                assert gain.Scale(state).place(commit) == Thorough(state).place(commit), (event, commit)
    assert kept or name == "human"
