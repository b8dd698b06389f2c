"""Groups of nodes: which nodes are put together, and that a pair stays within one group."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from core.charter import Charter
from core.judging import final_check, gain, grouping, policy
from core.judging.final_check import FIRST
from core.judging.grouping import JOIN, LEAVE, regrouped
from core.judging.schedule import REMEASURE_EVERY, Work, assess, next_work, noise
from core.model import Role
from core.record import events as ev
from core.record.events import AnyEvent, Grouped, Judged
from core.record.fold import apply, fold
from core.record.state import State
from core.reporting import log_lines, phrases
from core.run import jobs
from core.verdicts import Verdict
from nanochat.contract.job import Outcome, Result
from tests.core.judging.test_schedule import CONFIG, SEED, proposed, scored, state

SIGMA = 0.01
A_AND_B = Grouped(node="b", group="a", other="a", difference=0.001, trainings=1)


def on(
    node: str,
    commit: str,
    value: float,
    index: int = 0,
    role: str = "candidate",
    number: int | None = None,
    nodes: tuple[str, ...] = (),
) -> list[AnyEvent]:
    """A score that was measured on a node. `nodes`: where it was wanted."""
    launched, measured = scored(commit, value, index, role, number)
    assert isinstance(launched, ev.Launched) and isinstance(measured, ev.Measured)
    job = f"{launched.job}{node}"
    result = replace(measured.result, job=job)
    return [replace(launched, job=job, nodes=nodes), replace(measured, result=result, node=node)]


def run(*more: list[AnyEvent]) -> State:
    """A run whose start has a score of 1.6 on node a, and one candidate."""
    return state(on("a", "fit", 1.6, role="baseline"), proposed(1), *more, baseline=False)


def step(found: State) -> Work | object:
    return assess(found, found.open[1], SIGMA)


# -- what is measured, and what is compared --------------------------------------------------------------------------------


def test_the_best_is_trained_beside_a_candidate_on_a_node_that_was_not_compared() -> None:
    found = run(on("b", "c1", 1.5, number=1))
    assert step(found) == Work(Role.INCUMBENT, "fit", SEED[0], 1, ("b",))
    fold(on("b", "fit", 1.5, role="best", number=1, nodes=("b",)), found)
    judged = step(found)
    assert isinstance(judged, Judged) and judged.gain == 0.0, "against the score on a it would be better by 0.1"
    assert found.scores["fit"] == {SEED[0]: 1.5} and found.on_nodes["fit"]["a"].scores == {SEED[0]: 1.6}


def test_scores_of_one_node_stay_pairs_when_the_best_is_measured_on_another_one() -> None:
    found = run(on("a", "c1", 1.58, number=1), on("b", "fit", 1.4, role="best"))
    assert step(found) == Work(Role.REPLICATE, "c1", SEED[1], 1), "better by 0.02 on node a"
    fold(on("a", "c1", 1.7, 1, "confirm", 1), found)
    assert step(found) == Work(Role.INCUMBENT, "fit", SEED[1], 1, ("a",))


def test_nodes_that_are_alike_have_pairs_across() -> None:
    found = run(on("b", "c1", 1.7, number=1), [A_AND_B])
    judged = step(found)
    assert isinstance(judged, Judged) and judged.gain == pytest.approx(-0.1)
    fold(on("b", "c2", 1.58, number=2), fold(proposed(2), found))
    fold(on("a", "c2", 1.58, 1, "confirm", 2), found)
    assert assess(found, found.open[2], SIGMA) == Work(Role.INCUMBENT, "fit", SEED[1], 2, ("a", "b"))


def test_a_candidate_whose_node_is_gone_is_trained_beside_the_best() -> None:
    found = run(on("b", "c1", 1.5, number=1), on("a", "fit", 1.6, role="best", number=1, nodes=("b",)))
    assert found.gone == {"b"} and step(found) == Work(Role.REPLICATE, "c1", SEED[0], 1, ("a",))
    fold(on("a", "c1", 1.7, role="confirm", number=1, nodes=("a",)), found)
    judged = step(found)
    assert isinstance(judged, Judged) and judged.gain == pytest.approx(-0.1)
    fold(on("b", "c2", 1.5), found)
    assert not found.gone, "it is back"


def test_where_both_nodes_are_gone_the_pair_is_made_on_a_third_one() -> None:
    found = run(on("b", "c1", 1.5, number=1))
    for work_on in ("c", "d", "d"):
        work = step(found)
        assert isinstance(work, Work)
        role, commit = work.role, work.commit
        fold(on(work_on, commit, 1.65, role=role, number=1, nodes=work.nodes), found)
    assert isinstance(step(found), Judged) and found.gone == {"a", "b", "c"}


def test_two_nodes_can_train_the_best_at_once_and_one_only_once() -> None:
    found = run(on("b", "c1", 1.6, number=1), proposed(2), on("c", "c2", 1.6, number=2), proposed(3))
    fold(on("b", "c3", 1.6, number=3), found)
    assert [work.nodes for work in next_work(found, SIGMA)] == [("b",), ("c",)], "c1 and c3 need the same training"


def test_the_regular_repeat_of_the_best_compares_nodes_that_are_alike() -> None:
    found = run(on("b", "x", 1.7), [A_AND_B])

    def repeat() -> Work:
        found.judged_since_incumbent = REMEASURE_EVERY
        return next(work for work in next_work(found, SIGMA) if work.role is Role.INCUMBENT)

    assert repeat() == Work(Role.INCUMBENT, "fit", SEED[0], nodes=("b",))
    fold(on("b", "fit", 1.6, role="best", nodes=("b",)), found)
    assert repeat() == Work(Role.INCUMBENT, "fit", SEED[1]), "a new seed; the next repeat is on the other node"
    fold(on("b", "fit", 1.6, 1, "best"), found)
    assert repeat() == Work(Role.INCUMBENT, "fit", SEED[1], nodes=("a",))
    for index in (1, 2):
        fold([*on("a", "fit", 1.6, index, "best"), *on("b", "fit", 1.6, index, "best")], found)
    fold(on("a", "fit", 1.6, 3, "best"), found)
    assert repeat().nodes == (), "they were compared three times"


def test_on_one_machine_nothing_names_a_node() -> None:
    found = state(proposed(1), scored("c1", 1.5, number=1), scored("c1", 1.5, 1, "confirm", 1))
    work = step(found)
    assert work == Work(Role.INCUMBENT, "fit", SEED[1], 1) and not found.on_nodes and not found.nodes
    assert regrouped(found, SIGMA) == ()


def test_pairs_across_nodes_that_differ_say_nothing_of_the_noise() -> None:
    theirs = [event for i in (1, 2) for event in on("a", "fit", 1.6, i, "best")]
    ours = [event for i in range(3) for event in on("b" if i else "a", "c1", 1.5 - i / 10, i, "confirm", 1)]
    assert noise(run(theirs, ours)).pairs == 0 and noise(run(theirs, ours, [A_AND_B])).pairs == 2


def test_a_shown_change_comes_from_one_node() -> None:
    found = run(on("b", "c1", 1.4, number=1), on("b", "fit", 1.45, role="best", number=1, nodes=("b",)))
    assert gain.Scale(found).change(found.experiments[1]) == pytest.approx(-0.05)
    apart = run(on("b", "c1", 1.4, number=1))
    assert gain.Scale(apart).change(apart.experiments[1]) is None


@pytest.mark.parametrize("node", ["a", "b"])
@pytest.mark.parametrize(("worse", "kept"), [(0.0, True), (0.009, False)])
def test_a_simplification_is_compared_with_the_best_level_of_its_own_nodes(node: str, worse: float, kept: bool) -> None:
    """On node a scores are lower by 0.1. There every change would seem to be the best so far."""
    both = [("a", 1.5), ("b", 1.6)]
    start = [e for name, level in both for i in (0, 1) for e in on(name, "fit", level, i, "best")]
    first = [ev.Judged(number=1, verdict=Verdict.KEEP, finding="f", commit="k1")]
    made = [e for name, level in both for i in (0, 1) for e in on(name, "c1", level + 0.001, i, "confirm", 1)]
    found = run(start, made, first, proposed(2, "k1", nodes=300))
    fold([e for i in (0, 1) for e in on(node, "c2", dict(both)[node] + worse, i, "confirm", 2)], found)
    judged = assess(found, found.open[2], SIGMA)
    assert isinstance(judged, Judged) and (judged.verdict is Verdict.SIMPLIFICATION) == kept


def test_the_pace_of_another_node_shows_no_disturbance() -> None:
    def seen(group: list[AnyEvent]) -> str:
        found = run(group)
        found.config = replace(CONFIG, device="cuda")
        found.facts["fit"] = replace(found.facts["fit"], result=replace(found.facts["fit"].result, pace=(10.0, 10.0)))
        result = Result(job="j", outcome=Outcome.SCORED, val_bpb=1.6, pace=(5.0, 5.0))
        return jobs.event(found, Charter(), Work(Role.INCUMBENT, "fit", SEED[0], 1), result, "b").disturbed

    assert seen([]) == "" and "slower" in seen([A_AND_B])


def test_the_final_check_has_pairs_of_one_group() -> None:
    kept = [ev.Judged(number=1, verdict=Verdict.KEEP, finding="f", commit="k1")]
    found = run(on("b", "c1", 1.5, number=1), kept)
    seed = policy.seed(1, FIRST)

    def check(node: str, commit: str, value: float) -> None:
        for event in on(node, commit, value, role=Role.FINAL):
            apply(found, replace(event, seed=seed))

    def next_work() -> list[Work]:
        return list(final_check.next_work(found, 1))

    assert next_work() == [Work(Role.FINAL, "fit", seed)], "the second one follows the first"
    check("a", "fit", 1.6)
    assert next_work() == [Work(Role.FINAL, "k1", seed, nodes=("a",))]
    check("b", "k1", 1.4)
    assert final_check.outcome(found, SIGMA) is None
    assert next_work() == [Work(Role.FINAL, "fit", seed, nodes=("b",))]
    check("b", "fit", 1.45)
    outcome = final_check.outcome(found, SIGMA)
    assert next_work() == [] and outcome is not None and outcome.change == pytest.approx(-0.05)


# -- groups ----------------------------------------------------------------------------------------------------------------


def measured(*scores: tuple[str, int, float]) -> State:
    """A run in which the start was trained: (node, index of the seed, val_bpb)."""
    return state(
        *(
            on(node, "fit", value, index, "baseline" if i == 0 else "best")
            for i, (node, index, value) in enumerate(scores)
        ),
        baseline=False,
    )


def grouped(found: State) -> dict[str, str]:
    fold(regrouped(found, SIGMA), found)
    return found.groups


ERROR = SIGMA * math.sqrt(2)


@pytest.mark.parametrize(
    ("errors", "group", "told"),
    [(0.0, "a", True), (0.9 * JOIN, "a", True), (1.2 * JOIN, None, False), (-2.9, None, False), (-3.1, "b", True)],
)
def test_a_node_joins_another_one_that_scores_alike(errors: float, group: str | None, told: bool) -> None:
    found = measured(("a", 0, 1.6), ("b", 0, 1.6 + errors * ERROR))
    changes = regrouped(found, SIGMA)
    assert [change.group for change in changes] == ([group] if told else [])
    assert grouped(found) == ({"b": group} if told else {}) and regrouped(found, SIGMA) == ()


def test_a_node_without_a_common_training_is_alone() -> None:
    found = measured(("a", 0, 1.6), ("b", 1, 1.6))
    assert grouped(found) == {} and not grouping.is_common(found, "fit", SEED[0])


def test_more_trainings_correct_a_first_impression() -> None:
    found = measured(("a", 0, 1.6), ("b", 0, 1.6 + 4 * ERROR))
    assert grouped(found) == {"b": "b"}
    for index, value in ((1, -2.0), (2, -1.0), (3, -1.0)):
        fold([*on("a", "fit", 1.6, index, "best"), *on("b", "fit", 1.6 + value * ERROR, index, "best")], found)
    assert grouped(found) == {"b": "a"}, "the mean of four is zero"


def test_a_node_stays_until_it_differs_clearly() -> None:
    found = measured(("a", 0, 1.6), ("b", 0, 1.6), ("a", 1, 1.6), ("b", 1, 1.6 + 3 * ERROR))
    fold([A_AND_B], found)
    assert regrouped(found, SIGMA) == (), "two standard errors: it would not join now"
    fold([*on("a", "fit", 1.6, 2, "best"), *on("b", "fit", 1.6 + 6 * ERROR, 2, "best")], found)
    assert grouped(found) == {"b": "b"}


def test_a_node_stays_with_its_own_and_a_new_one_joins_the_closest() -> None:
    alike = [(node, index, 1.6) for index in (1, 2) for node in ("b", "c")]
    found = measured(("a", 0, 1.6), ("b", 0, 1.6 + 5 * ERROR), *alike)
    assert grouped(found) == {"b": "b", "c": "b"}

    def differ(one: str, other: str, commit: str, errors: float) -> None:
        fold([*on(one, commit, 1.6, 0, "best"), *on(other, commit, 1.6 + errors * ERROR, 0, "best")], found)

    differ("a", "c", "x1", 0.9 * JOIN)
    assert grouped(found)["c"] == "b", "one lucky score beside a says less than two beside b"
    differ("a", "d", "x2", 0.9 * JOIN)
    differ("b", "d", "x3", 0.1 * JOIN)
    assert grouped(found)["d"] == "b"


def test_a_difference_that_could_not_be_kept_as_a_gain_does_not_matter() -> None:
    smallest = policy.KEEP[policy.MAX_PAIRS] * SIGMA * math.sqrt(2 / policy.MAX_PAIRS)
    for share, group in ((0.4, "a"), (0.7, "b")):
        found = state(
            *(
                on(node, commit, 1.6 + (node == "b") * share * smallest, index, "best")
                for commit in ("fit", "x1", "x2", "x3", "x4")
                for index in range(4)
                for node in "ab"
            ),
            baseline=False,
        )
        assert grouped(found) == {"b": group}, "over 20 trainings, both are beyond one standard error"


def test_a_third_node_is_compared_with_the_mean_of_a_group() -> None:
    found = measured(("a", 0, 1.6), ("b", 0, 1.61), ("c", 0, 1.605))
    changes = regrouped(found, SIGMA)
    assert [(change.node, change.group) for change in changes] == [("b", "a"), ("c", "a")]
    assert changes[1].difference == pytest.approx(0.0)


def test_a_kept_change_counts_once() -> None:
    kept = [ev.Judged(number=1, verdict=Verdict.KEEP, finding="f", commit="k1")]
    found = run(on("b", "c1", 1.5, number=1), on("a", "c1", 1.5, role="confirm", number=1), kept)
    (change,) = regrouped(found, SIGMA)
    assert (change.node, change.group, change.trainings) == ("b", "a", 1)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from("abcde"), st.integers(0, 3)), st.floats(1.5, 1.7), min_size=1, max_size=20
    ),
    st.floats(0.001, 0.05),
)
def test_groups_are_a_partition_that_stays_as_it_is(scores: dict[tuple[str, int], float], sigma: float) -> None:
    found = state(*(on(node, "fit", value, index, "best") for (node, index), value in scores.items()), baseline=False)
    fold(regrouped(found, sigma), found)
    groups = {node: found.groups.get(node, node) for node in found.nodes}
    assert all(groups[first] == first for first in groups.values()), "each group is named after one of its nodes"
    assert regrouped(found, sigma) == ()
    for node, first in groups.items():
        members = [
            other for other in groups if groups[other] == first and found.nodes.index(other) < found.nodes.index(node)
        ]
        if members:
            comparison = grouping.compared(found, node, members, sigma)
            assert comparison is not None and comparison.within(LEAVE)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.3, 0.6]), min_size=2, max_size=6))
def test_nodes_that_differ_clearly_are_grouped_by_their_level(levels: list[float]) -> None:
    names = [f"node-{i}" for i in range(len(levels))]
    found = state(
        *(on(n, "fit", 1.5 + level, 0, "best") for n, level in zip(names, levels, strict=True)), baseline=False
    )
    fold(regrouped(found, SIGMA), found)
    firsts = {level: names[levels.index(level)] for level in levels}
    assert [found.groups.get(n, n) for n in names] == [firsts[level] for level in levels]


def test_a_finding_about_nodes_is_reported_once_and_in_the_summary() -> None:
    found, lines = measured(("a", 0, 1.6), ("b", 0, 1.7), ("c", 0, 1.6)), list[str]()
    assert phrases.unequal_nodes(found) == ""
    for change in regrouped(found, SIGMA):
        apply(found, change)
        lines.append((log_lines.line(change, found) or "").split("  ", 1)[1])
    assert lines == [
        "Node b scores 0.1000 bpb higher than a on the same train.py; pairs stay on one of them.",
        "Node c scores like a on the same train.py (0.0000 bpb apart), so a pair may use both.",
    ]
    assert (
        phrases.unequal_nodes(found)
        == "Nodes give different scores, so only scores of one group are compared: a and c; b."
    )
