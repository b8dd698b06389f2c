"""The keep rule, case by case and over many nights; the noise; what counts as a disturbed machine."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import pairs_at_once
from benchmarks import policy as nights
from core.judging import policy
from core.judging.noise import Noise, _qn
from core.judging.policy import Decision, comparable, decide, disturbed, order, seed
from core.record.events import Measured
from core.record.experiment import Conditions
from nanochat.contract.job import Outcome, Result, Speed

RUN, SIGMA = 42, 0.01
SEEDS = [seed(RUN, index) for index in range(10)]


def judge(gains: list[float], *, extra_incumbent: int = 0, **more: float | int) -> Decision:
    """Decide on a candidate that is better than a best of 1.6 by so many sigmas on the first seeds."""
    incumbent = dict.fromkeys(SEEDS[: len(gains) + extra_incumbent], 1.6)
    candidate = {s: 1.6 - gain * SIGMA for s, gain in zip(SEEDS, gains, strict=False)}
    return decide(candidate, incumbent, SIGMA, run_seed=RUN, **more)  # type: ignore[arg-type]


def test_a_candidate_is_measured_first_where_the_best_was_neither_lucky_nor_unlucky() -> None:
    unlucky, lucky, usual, slightly = SEEDS[:4]
    best = {unlucky: 1.62, lucky: 1.59, usual: 1.602, slightly: 1.598}  # mean 1.6025
    assert order(best, RUN) == [usual, slightly, lucky, unlucky, *SEEDS[4:8]]
    assert decide({}, best, SIGMA, run_seed=RUN).seed == usual
    further = decide({usual: 1.58}, best, SIGMA, run_seed=RUN)
    assert (further.action, further.seed, further.who) == ("measure", slightly, "candidate")
    compared = decide({unlucky: 1.58, usual: 1.58}, best, SIGMA, run_seed=RUN)
    assert compared.gain == pytest.approx(0.031) and compared.pairs == 2, "every pair counts, whatever its order"


@pytest.mark.parametrize("scores", [[], [1.6], [1.61, 1.59], [1.6, 1.6, 1.6]])
def test_without_a_usual_seed_the_order_is_that_of_the_run(scores: list[float]) -> None:
    assert order(dict(zip(SEEDS, scores, strict=False)), RUN) == SEEDS[:8]


def test_a_candidate_may_be_measured_on_all_seeds_of_the_best_and_on_new_ones() -> None:
    best = {s: 1.6 + index / 1000 for index, s in enumerate(SEEDS)}  # 10 of them
    assert sorted(order(best, RUN)) == sorted(SEEDS)
    last = decide(dict.fromkeys(SEEDS[:7], 1.575), dict.fromkeys(SEEDS[:7], 1.6), 0.02, run_seed=RUN)
    assert (last.action, last.seed) == ("measure", SEEDS[7])


@pytest.mark.parametrize(
    ("gains", "action", "words"),
    [
        (
            [-5.0],
            "discard",
            "worse: 0.0500 bpb worse over 1 seed, with a standard error of 0.0141; 0.0283 counts as worse",
        ),
        (
            [-1.0],
            "discard",
            "inconclusive: 0.0100 bpb worse over 1 seed, with a standard error of 0.0141; a loss of 0.0283 would count as worse",
        ),
        (
            [0.5],
            "discard",
            "inconclusive: 0.0050 bpb better over 1 seed, with a standard error of 0.0141; a gain of 0.0085 would have been measured again",
        ),
        ([0.0], "discard", "inconclusive: no change over 1 seed"),
        ([1.5], "measure", "promising, so it is measured again"),
        ([60.0], "measure", "promising"),  # one score never keeps, however good
        (
            [1.5, -1.5],
            "discard",
            "not confirmed: no change over 2 seeds, with a standard error of 0.0100; 0.0380 better was needed",
        ),
        ([3.0, -9.0], "discard", "worse"),
        (
            [4.5, 4.0],
            "keep",
            "a real improvement: 0.0425 bpb better over 2 seeds, with a standard error of 0.0100; 0.0380 was needed",
        ),
        ([2.0, 1.5], "measure", "promising"),
        ([2.0, 1.5, 2.0], "measure", "promising"),
        ([3.5, 3.0, 2.5], "keep", "over 3 seeds"),
        ([1.5] * 7, "measure", "promising"),
        ([1.5] * 8, "keep", "over 8 seeds"),
        (
            [1.4] * 8,
            "discard",
            "not confirmed: 0.0140 bpb better over 8 seeds, with a standard error of 0.0050; 0.0145 was needed",
        ),
    ],
)
def test_the_keep_rule(gains: list[float], action: str, words: str) -> None:
    decision = judge(gains)
    assert decision.action == action
    assert words in decision.reason
    assert decision.pairs == len(gains)
    assert decision.gain == pytest.approx(SIGMA * sum(gains) / len(gains))
    assert decision.error == pytest.approx(SIGMA * math.sqrt(2 / len(gains)))
    assert decision.within_noise == decision.reason.startswith(("inconclusive", "not confirmed"))
    assert (decision.needed is None) == (action == "measure")


def test_seeds_are_asked_for_one_by_one_and_the_cached_scores_of_the_best_are_used() -> None:
    a, b = SEEDS[:2]
    first = decide({}, {a: 1.6}, SIGMA, run_seed=RUN)
    assert (first.action, first.seed, first.who, first.gain, first.error) == ("measure", a, "candidate", None, None)
    again = decide({a: 1.57}, {a: 1.6}, SIGMA, run_seed=RUN)
    assert (again.action, again.seed, again.who) == ("measure", b, "candidate")
    lacking = decide({a: 1.57, b: 1.57}, {a: 1.6}, SIGMA, run_seed=RUN)
    assert (lacking.action, lacking.seed, lacking.who) == ("measure", b, "incumbent")
    cached = decide({a: 1.55, b: 1.55}, {a: 1.6, b: 1.6}, SIGMA, run_seed=RUN)
    assert cached.action == "keep"
    assert len(set(SEEDS)) == len(SEEDS) > policy.MAX_PAIRS and seed(RUN, 0) != seed(RUN + 1, 0)


@pytest.mark.parametrize(
    ("gains", "pairs"), [([], None), ([0.5], None), ([1.4], None), ([1.5], 8), ([2.0], 6), ([3.0], 3), ([9.0], 2), ([3.0, 2.0], 4)]
)  # fmt: skip
def test_after_how_many_pairs_a_gain_is_kept_if_it_is_true(gains: list[float], pairs: int | None) -> None:
    ours = {seed(1, index): 1.5 - gain / 100 for index, gain in enumerate(gains)}
    theirs = {seed(1, index): 1.5 for index in range(8)}
    assert policy.likely_pairs(ours, theirs, 0.01) == pairs
    steady = [1.5 - sum(gains) / max(1, len(gains)) / 100] * 8
    for number in range(1, 9):
        more = {seed(1, index): value for index, value in enumerate(steady[:number])}
        kept = decide(more, theirs, 0.01, run_seed=1).action == "keep"
        assert kept is (pairs is not None and number >= pairs)


def test_pairs_decide_not_luck_with_the_seed() -> None:
    """Both do badly on the second seed: the paired gain is what it was."""
    a, b = SEEDS[:2]
    assert decide({a: 1.55, b: 1.75}, {a: 1.6, b: 1.8}, SIGMA, run_seed=RUN).action == "keep"
    other = SEEDS[9]  # scores of the best on other seeds pair with nothing
    assert decide({a: 1.57}, {a: 1.6, other: 1.0}, SIGMA, run_seed=RUN).gain == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("gains", "delta", "confirmed", "action"),
    [
        ([0.0], -60, 1.6, "measure"),  # less code is never taken on one score
        ([0.0, 0.0], -60, 1.6, "simplify"),
        ([0.0, 0.0], -60, None, "simplify"),
        ([-0.9, 0.9], -60, 1.6, "simplify"),
        ([-1.5], -60, 1.6, "discard"),  # too much worse for any saving
        ([-0.5, -0.5], -60, 1.6, "discard"),
        ([0.0, 0.0], -60, 1.59, "discard"),  # equal to a best that has drifted up from what was confirmed
        ([0.0, 0.0], -19, 1.6, "discard"),  # under 1% of 2000 nodes
        ([0.0, 0.0], 60, 1.6, "discard"),
        ([4.0, 4.0], -60, 1.6, "keep"),
    ],
)
def test_simplification(gains: list[float], delta: int, confirmed: float | None, action: str) -> None:
    decision = judge(gains, nodes_delta=delta, nodes=2000, best_confirmed=confirmed)  # type: ignore[arg-type]
    assert decision.action == action
    assert (action == "simplify") == ("60 AST nodes fewer" in decision.reason)


@given(st.lists(st.floats(-6, 6), min_size=1, max_size=policy.MAX_PAIRS))
def test_the_figure_that_was_needed_decides(gains: list[float]) -> None:
    """A loss or gain beyond it comes to another end than one short of it."""
    decision = judge(gains)
    if decision.needed is None:
        return
    assert decision.gain is not None and decision.needed > 0
    beyond = abs(decision.gain) >= decision.needed and (decision.gain > 0 or len(gains) == 1)
    if decision.within_noise:
        assert not beyond or decision.gain == -decision.needed
    elif decision.action == "keep":
        assert decision.gain >= decision.needed
    else:
        assert -decision.gain > decision.needed


@pytest.mark.parametrize(
    ("gain", "needed", "words"),
    [
        (-0.0753, 0.0760, ("0.0753 bpb worse", "0.0760")),
        (-0.07598, 0.07602, ("0.07598 bpb worse", "0.07602")),  # never "0.0760 worse, 0.0760 needed"
        (-0.0759999, 0.0760001, ("0.0759999 bpb worse", "0.0760001")),
        (0.02, 0.02, ("0.0200 bpb better", "0.0200")),
        (0.0, 0.001, ("no change", "0.0010")),
        (1e-17, 0.001, ("less than 0.0001 bpb better", "0.0010")),
        (-2e-5, None, ("less than 0.0001 bpb worse", "")),
    ],
)
def test_figures_in_words(gain: float, needed: float | None, words: tuple[str, str]) -> None:
    assert policy.figures(gain, needed) == words


@pytest.mark.parametrize(
    ("delta", "nodes", "fewer"), [(-8, 100, True), (-7, 100, False), (-20, 2000, True), (-19, 2000, False)]
)
def test_clearly_less_code(delta: int, nodes: int, fewer: bool) -> None:
    assert policy.simpler(delta, nodes) is fewer


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.0, -37.8])
def test_an_invalid_score_is_rejected(bad: float) -> None:
    a = SEEDS[0]
    for candidate, incumbent in (({a: bad}, {a: 1.6}), ({a: 1.6}, {a: bad}), ({a: 1.6}, {a: 1.6, SEEDS[5]: bad})):
        with pytest.raises(ValueError, match="val_bpb must be finite and positive"):
            decide(candidate, incumbent, SIGMA, run_seed=RUN)
    with pytest.raises(ValueError, match="val_bpb must be finite and positive"):
        decide({a: 1.5}, {a: 1.6}, SIGMA, run_seed=RUN, best_confirmed=bad)
    with pytest.raises(ValueError, match="sigma must be finite and positive, got"):
        decide({a: 1.5}, {a: 1.6}, bad, run_seed=RUN)


SCORES = st.floats(0.5, 3.0)


@given(st.lists(SCORES, min_size=8, max_size=8), st.lists(SCORES, min_size=8, max_size=8), st.floats(1e-4, 0.1))
def test_every_candidate_comes_to_an_end(ours: list[float], theirs: list[float], sigma: float) -> None:
    """Following what is asked for ends within sixteen trainings, never asks twice, and a keep has a positive gain."""
    candidate: dict[int, float] = {}
    incumbent = {SEEDS[0]: theirs[0]}
    for _ in range(2 * policy.MAX_PAIRS):
        decision = decide(candidate, incumbent, sigma, run_seed=RUN, nodes_delta=-100, nodes=100)
        if decision.action != "measure":
            break
        index = SEEDS.index(decision.seed or 0)
        scores, values = (candidate, ours) if decision.who == "candidate" else (incumbent, theirs)
        assert SEEDS[index] not in scores
        scores[SEEDS[index]] = values[index]
    assert decision.action != "measure"
    if decision.action == "keep":
        assert decision.gain is not None and decision.gain > 0 and decision.pairs >= 2


# -- over many nights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "useless", "correlation"),
    [(wrong, *more) for wrong in nights.WRONG for more in ((nights.USELESS, 0.0), (nights.USELESS, 0.7))]
    + [(2.0, 1.0, 0.0)],
)
def test_at_most_one_useless_change_in_a_hundred_is_kept_and_the_noise_is_found(
    wrong: float, useless: float, correlation: float
) -> None:
    found = nights.simulate(30, 60, 1, wrong, useless=useless, correlation=correlation)
    assert found.useless > 1000
    assert statistics.median(found.believed) == pytest.approx(1, abs=0.25)
    assert found.within(0.25) > 0.5 and found.covered > 15
    assert found.false_per_50 <= 0.5
    if found.harmful:
        assert 50 * found.harmful_keeps / found.harmful <= 0.25


def test_the_rule_is_as_strict_and_as_strong_when_several_pairs_are_measured_at_once() -> None:
    for first in (1, 4):
        assert pairs_at_once.simulate(0.0, 4, 40_000, first).kept <= 1 / 400
    one, four = (pairs_at_once.simulate(2.0, count, 2000) for count in (1, 4))
    assert four.kept > one.kept - 0.05 and four.rounds < 0.75 * one.rounds and four.pairs < 1.25 * one.pairs


def test_a_clear_gain_is_kept_after_more_than_the_most_pairs_too() -> None:
    seeds = [policy.seed(1, index) for index in range(policy.MAX_PAIRS + 1)]
    better, same = ({seed: score for seed in seeds} for score in (1.5, 1.599))
    incumbent = dict.fromkeys(seeds, 1.6)
    assert policy.decide(better, incumbent, 0.01, run_seed=1).action == "keep"
    assert policy.decide(same, incumbent, 0.01, run_seed=1).action == "discard"


def test_real_gains_are_found() -> None:
    found = nights.simulate(60, 100, 1, 1.0)
    share = {effect: found.kept[effect] / found.tried[effect] for effect in nights.EFFECTS}
    assert share[6.0] > 0.98 and share[4.0] > 0.85 and share[3.0] > 0.7 and share[2.0] > 0.4
    assert found.extra_runs < 0.75


@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_after_a_night_of_edits_that_change_nothing_no_real_one_is_kept_by_chance(correlation: float) -> None:
    found = nights.simulate(20, 90, 1, 2.0, useless=1.0, correlation=correlation, same=30)
    assert found.false_per_50 <= 1.0 and min(found.believed) > 0.25


def test_simplifications_do_not_add_up_to_a_loss() -> None:
    """A hundred of them at half a sigma each would be fifty."""
    assert nights.creeping(20, 100, 1, 0.5) < 2.0


# -- noise ------------------------------------------------------------------------------------------------------------


def pairs(*steps: float) -> tuple[dict[int, float], list[dict[int, float]]]:
    """A version, and candidates whose scores move by so much from the first seed to the second."""
    return {0: 1.6, 1: 1.6}, [{0: 1.5, 1: 1.5 + step} for step in steps]


def test_noise_begins_as_the_prior_and_ends_as_what_was_measured() -> None:
    assert Noise.estimate(0.008) == Noise(0.008)
    single = ({0: 1.6}, [{0: 1.5}, {0: 1.4}])
    assert Noise.estimate(0.008, [1.6], [single]) == Noise(0.008), "single scores say nothing"
    apart = ({0: 1.6, 1: 1.6}, [{0: 1.5}, {1: 1.4}, {2: 1.3, 3: 1.5}])
    assert Noise.estimate(0.008, [], [apart]) == Noise(0.008), "nor do scores on seeds that the parent lacks"
    found = Noise.estimate(0.008, [], [pairs(*[0.04, -0.04] * 100)])
    assert found.pairs == 200 and found.sigma == pytest.approx(0.0283, abs=0.0005)


def test_one_pair_more_counts_as_half_of_its_squared_step() -> None:
    found = Noise.estimate(0.01, [], [pairs(0.06)])
    assert found == Noise(pytest.approx(math.sqrt((2 * 0.01**2 + 0.06**2 / 4) / 3)), 1)
    assert Noise.estimate(0.02, [1.6, 1.61]).sigma == pytest.approx(math.sqrt((2 * 0.02**2 + 0.00005) / 3))
    assert Noise.estimate(0.01, [1.6, 1.62]) == Noise(0.01), "seeds alone do not raise it"


def test_neither_seeds_nor_versions_nor_the_parents_chance_count_as_noise() -> None:
    """Seed 1 is 0.2 harder for all, the parent was lucky on it, and versions differ by 0.1: none of it is noise."""
    kin = [{0: 1.5 + 0.1 * n, 1: 1.7 + 0.1 * n} for n in range(20)]
    assert Noise.estimate(0.01, [], [({0: 1.6, 1: 1.8}, kin)]).sigma == pytest.approx(0.006), "as low as it gets"
    lucky = Noise.estimate(0.01, [], [({0: 1.6, 1: 1.7}, kin)]).sigma
    naive = 0.1 / 2
    assert lucky < naive / 2


def test_the_spread_of_candidates_on_a_seed_bounds_the_noise() -> None:
    """Scores over seeds scatter by 0.05, which pairs cancel. Candidates of one parent scatter by 0.002, and some lose a lot."""
    dice = random.Random(1)
    seeds = [1.6 + dice.gauss(0, 0.05) for _ in range(8)]
    alike = [{0: 1.6 + dice.gauss(0, 0.002)} for _ in range(40)]
    losses = [{0: 1.6 + dice.uniform(0.01, 0.2)} for _ in range(20)]
    found = Noise.estimate(0.005, seeds, [({0: 1.6}, [*alike, *losses])])
    assert 0.0018 < found.sigma < 0.0042
    assert Noise.estimate(0.005, seeds, [({0: 1.6}, alike[:5])]) == Noise(0.005), "five are too few"
    assert Noise.estimate(0.001, seeds, [({0: 1.6}, alike)]).sigma > 0.0012, (
        "a prior that is too small is corrected as well"
    )
    assert Noise.estimate(0.001, [], [({0: 1.6}, alike)]) == Noise(0.001), "but not by effects alone"


def test_changes_without_any_effect_say_nothing_of_the_noise() -> None:
    same = [{0: 1.6 + 1e-6 * n} for n in range(40)]
    assert Noise.estimate(0.005, [], [({0: 1.6}, same)]) == Noise(0.005)


def test_qn_is_the_standard_deviation_of_normal_values_and_finite_with_others() -> None:
    dice = random.Random(2)
    for count in (6, 7, 20, 60):
        found = [_qn([dice.gauss(0, 1) for _ in range(count)]) for _ in range(400)]
        assert statistics.fmean(found) == pytest.approx(1.0, abs=0.08), count
    tainted = [
        _qn([dice.gauss(0, 1) for _ in range(40)] + [dice.uniform(5, 50) for _ in range(20)]) for _ in range(100)
    ]
    assert 1.0 < statistics.fmean(tainted) < 2.6


def test_the_noise_does_not_collapse_however_alike_the_pairs_are() -> None:
    same = pairs(*[0.0] * 100)
    assert Noise.estimate(0.01, [], [same]) == Noise(0.006), "and its interval is as wide as without them"


def test_one_seed_that_diverged_does_not_set_the_noise() -> None:
    usual = [0.02 * (-1) ** n for n in range(20)]
    without = Noise.estimate(0.01, [], [pairs(*usual)]).sigma
    assert without < Noise.estimate(0.01, [], [pairs(*usual, 9.0)]).sigma < 1.4 * without
    assert Noise.estimate(0.01, [1.6, 9.9]).sigma < 0.05, "nor does one of the best's own"


def test_the_interval_narrows_around_the_noise() -> None:
    for count in (0, 1, 5, 30, 1000):
        low, high = Noise(0.01, count).interval
        assert 0 < low < 0.01 < high
    assert Noise(0.01, 8).interval == pytest.approx((0.0079, 0.0143), abs=1e-4)  # chi-square of 10: 15.987, 4.865
    assert Noise(0.01, 998).interval == pytest.approx((0.01, 0.01), rel=0.04)
    assert str(Noise(0.0042, 18)) == "0.0042 (0.0035 to 0.0053)"
    assert high - low < 0.001


@pytest.mark.parametrize("prior", [0.0, -1.0, math.nan, math.inf])
def test_a_prior_that_cannot_be_is_refused(prior: float) -> None:
    with pytest.raises(ValueError, match="the prior noise must be finite and positive"):
        Noise.estimate(prior)


# -- the machine ------------------------------------------------------------------------------------------------------

EVEN, DIP, FALLING = (6.0, 6.1, 5.9, 6.0), (6.0, 3.0, 3.5, 6.0), (6.0, 5.0, 4.0, 3.0)


def result(
    pace: tuple[float, ...] = EVEN, wall: float = 60.0, *, asleep: float = 0.0, late: bool = False, others: int = 0, held: float = 0.0,
    busy: float | None = None,
) -> Result:  # fmt: skip
    """`busy`: what the gauge saw; None where there is none."""
    return Result(
        job="j", outcome=Outcome.TIMEOUT if late else Outcome.SCORED, pace=pace, wall_s=wall, cpu_s=60.0, charged_s=60.0,
        suspended_s=asleep, other_gpu_bytes=others, throttled_share=held,
        speed=None if busy is None else Speed(reference_s=0.01, mean=0.8, spread=0.1, busy=busy, readings=100),
    )  # fmt: skip


def earlier(pace: tuple[float, ...] = EVEN, *, others: int = 0, held: float = 0.0) -> Result:
    return Result(job="i", outcome=Outcome.SCORED, pace=pace, other_gpu_bytes=others, throttled_share=held)


@pytest.mark.parametrize(
    ("found", "before", "device", "words"),
    [
        (result(), None, "cpu", None),
        (result(wall=200), None, "cpu", None),  # it waited, and lost nothing by it
        (result(DIP), None, "cpu", None),  # uneven on a quiet machine: the edit's own
        (result(DIP, 200), None, "cpu", "for a while: 50%"),
        (result(FALLING, 200), None, "cpu", "for a while"),
        (result((3.0,) * 4), EVEN, "cpu", None),
        (result((3.0,) * 4, 200), EVEN, "cpu", "50% of the earlier pace"),
        (result((3.0,) * 4, 200), None, "cpu", None),  # slow from end to end: the edit's own slowness
        (result(asleep=30), None, "cpu", "slept for 30 s"),
        (result(asleep=0.5), None, "cpu", None),
        (result(wall=240, late=True), None, "cpu", "4.0 s for each second of work"),
        (result(wall=61, late=True), None, "cpu", None),
        # With a gauge a long wait says nothing: a train.py can sleep. What the gauge itself waited for does.
        (result(wall=240, late=True, busy=1.0), None, "cpu", None),
        (result(wall=61, late=True, busy=3.0), None, "cpu", "3.0 s for each second of work"),
        (result((3.0,) * 4, 200, busy=1.1), EVEN, "cpu", None),
        (result((3.0,) * 4, 61, busy=2.0), EVEN, "cpu", "50% of the earlier pace"),
        (result(DIP, busy=2.0), None, "cpu", "for a while: 50%"),
        (result(FALLING, busy=2.0), None, "cpu", None),  # the speed is taken out: what is left is the edit's
        (result(), EVEN, "cuda", None),
        (result(DIP), None, "cuda", "for a while: 50%"),
        (result(FALLING), None, "cuda", None),  # falls all through: a growing batch, for one
        (result(FALLING), EVEN, "cuda", "earlier pace of the same code"),
        (result(FALLING), FALLING, "cuda", None),
        (result((3.0,) * 4), EVEN, "cuda", "50% of the earlier pace"),
        (result(asleep=30), None, "cuda", "slept"),
        (result(()), EVEN, "cuda", None),  # ended before a step
        (result((0.0, 0.0)), (0.0,), "cuda", None),
    ],
)
def test_disturbed(found: Result, before: tuple[float, ...] | None, device: str, words: str | None) -> None:
    said = disturbed(found, before and earlier(before), same_code=before is not None, device=device)
    assert (said is None) == (words is None), said
    assert words is None or (said is not None and words in said)


def test_a_slower_edit_is_not_blamed_on_the_machine() -> None:
    assert disturbed(result((3.0,) * 4, 200), earlier(), same_code=False) is None
    assert disturbed(result((3.0,) * 4), earlier(), same_code=False, device="cuda") is None


@pytest.mark.parametrize(
    ("found", "baseline", "words"),
    [
        (result(others=3 << 30), earlier(), "took 3.2 GB of the GPU"),
        (result(others=3 << 30), earlier(others=3 << 30), None),  # it is always there
        (result(others=100 << 20), earlier(), None),
        (result(others=3 << 30), None, "another process"),  # in the baseline itself
        (result(held=0.6), earlier(), "60% more of the time"),
        (result(held=0.6), earlier(held=0.5), None),  # a machine that is always hot
    ],
)
def test_a_gpu_that_others_use_or_that_gets_too_hot(
    found: Result, baseline: Measured | None, words: str | None
) -> None:
    said = disturbed(found, None, same_code=False, device="cuda", baseline=baseline)
    assert (said is None) == (words is None) and (words or "") in (said or "")
    assert disturbed(found, None, same_code=False, device="cpu", baseline=baseline) is None


# -- pairs in time ----------------------------------------------------------------------------------------------------


def at(t: float, speed: float | None, wall_s: float = 70.0) -> Conditions:
    return Conditions(t, wall_s, speed)


@pytest.mark.parametrize(
    ("one", "other", "device", "compare"),
    [
        (at(0, 1.0), at(50_000, 0.9), "cpu", True),  # the gauge takes that out, whenever it was
        (at(0, 1.0), at(100, 0.7), "cpu", False),
        (at(0, 0.7), at(100, 1.0), "cpu", False),
        (at(0, None), at(800, None), "cpu", True),
        (at(0, None), at(1000, None), "cpu", False),
        (at(0, None), at(1000, 1.0), "cpu", False),
        (at(0, None, 300), at(2000, None), "mps", True),  # long trainings: some of them in between
        (at(0, None), at(50_000, None), "cuda", True),
    ],
)
def test_what_makes_a_pair(one: Conditions, other: Conditions, device: str, compare: bool) -> None:
    assert comparable(one, other, device) is compare
    assert comparable(other, one, device) is compare


@pytest.mark.parametrize(
    ("gains", "delta", "confirmed", "action"),
    [
        ([0.5], 0, 1.6, "measure"),
        ([0.0, 0.0, 0.0], -60, 1.6, "measure"),  # less code does not shorten it
        ([-0.5], -60, 1.6, "discard"),  # an ablation may not be worse, however much code it saves
        ([0.5, -0.6], 0, 1.6, "discard"),
        ([0.5, -0.3, 0.1, 0.0], 0, 1.6, "simplify"),
        ([0.0, 0.0, 0.0, 0.0], 1, 1.6, "discard"),  # without the change there is more code
        ([0.0, 0.0, 0.0, 0.0], 0, 1.59, "discard"),  # equal to a best that has drifted up from what was confirmed
        ([4.0, 4.0], 0, 1.6, "keep"),
    ],
)
def test_an_ablation_is_kept_unless_it_is_worse(gains: list[float], delta: int, confirmed: float, action: str) -> None:
    decision = judge(gains, nodes_delta=delta, nodes=2000, best_confirmed=confirmed, ablation=True)  # type: ignore[arg-type]
    assert decision.action == action
