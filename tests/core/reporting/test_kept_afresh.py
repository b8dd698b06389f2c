"""What is said of kept changes that were measured alone on fresh seeds."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from core.judging import policy, schedule
from core.judging.final_check import FIRST
from core.model import Role
from core.record import events as ev
from core.record.fold import CHECK_TRIES, apply
from core.record.live import Picture
from core.record.state import State
from core.reporting import activity, kept_afresh, phrases, status, summary
from core.reporting.log_lines import line
from core.reporting.page import page
from core.verdicts import Verdict
from tests.core.reporting.reports import SIGMA, report_of, state_of
from tests.events import measurement
from tui.view.detail import experiment_facts


def alone(changes: list[float], seeds: int = 4) -> State:
    """A run that kept as many changes, after a final check in which each alone has this effect."""
    state = state_of(3 * len(changes), keep_every=3)
    assert state.config is not None and len(state.kept) == len(changes)
    for index in range(seeds):
        seed, score = policy.seed(state.config.seed, FIRST + index), 1.0
        for commit, change in zip(state.commits, [0.0, *changes], strict=True):
            score += change
            apply(state, measurement(role="final check", commit=commit, seed=seed, val_bpb=score))
    return state


@pytest.mark.parametrize(
    ("change", "words", "count"),
    [
        (-0.01, "-0.0100 ± 0.0014 on 4 fresh seeds, so it holds", "2 of 2 gains hold."),
        (
            -0.002,
            "-0.0020 ± 0.0014 on 4 fresh seeds, not certain (0.0028 was needed)",
            f"1 of 2 gains holds. {kept_afresh.MORE}",
        ),
        (0.01, "+0.0100 ± 0.0014 on 4 fresh seeds, so train.py is worse with it", "1 of 2 gains holds."),
    ],
)
def test_each_has_its_figure_and_its_verdict(change: float, words: str, count: str) -> None:
    state = alone([-0.02, change])
    first, second = (state.experiments[number] for number in state.kept)
    said = kept_afresh.lines(state, SIGMA)
    assert said[0].startswith("#3 ") and said[0].endswith(": -0.0200 ± 0.0014 on 4 fresh seeds, so it holds.")
    assert said[1].startswith("#6 ") and said[1].endswith(f": {words}.") and said[2:] == [count]
    shown = experiment_facts(state, second, "kept", 200).plain
    assert phrases.typeset(phrases.change(change)) in shown and "on 4 fresh seeds" in shown and "afresh" in shown
    assert "afresh      −0.0200" in experiment_facts(state, first, "kept", 200).plain
    kept = status.status(state, schedule.noise(state), None, Picture()).kept_changes
    found = [(one.afresh.change, one.afresh.seeds, one.afresh.wanted) for one in kept if one.afresh is not None]
    assert found == [(pytest.approx(-0.02), 4, 4), (pytest.approx(change), 4, 4)]


def test_the_page_has_a_column_once_it_was_measured() -> None:
    assert "measured afresh</th>" not in page(report_of(state_of(6, keep_every=3)))
    found = page(report_of(alone([-0.02, -0.01])))
    assert "measured afresh</th>" in found and "Measured afresh: the same change" in found
    assert "measured afresh</th>" not in page(report_of(alone([-0.02]))), "the headline says it"


def test_the_summary_shows_it_beside_each_change_or_below_where_there_is_no_room() -> None:
    def shown(state: State, width: int) -> list[str]:
        found = summary.summary(status.status(state, schedule.noise(state), None, Picture()), width)
        return summary.text(found).splitlines()

    def column(line: str) -> int:
        return line.index(" ±")

    several = alone([-0.02, -0.01])
    [first, second] = [line for line in shown(several, 140) if "afresh -" in line]
    assert "afresh -0.0200 ±" in first and "#3 " in first and "afresh -0.0100 ±" in second and "#6 " in second
    narrow = shown(several, 80)
    changes = [index for index, line in enumerate(narrow) if "#3 " in line or "#6 " in line]
    for index, change in zip(changes, ("-0.0200", "-0.0100"), strict=True):
        above, below = narrow[index], narrow[index + 1]
        assert below.strip().startswith(f"{change} ±") and below.endswith("measured afresh")
        assert column(below) == column(above) and len(below) < 80
    for state in (
        alone([-0.02]),
        state_of(6, keep_every=3),
    ):  # the line of the final check says it, or nothing was measured
        assert not any(
            "afresh -" in line or "measured afresh" in line for width in (80, 140) for line in shown(state, width)
        )


def test_a_simplification_is_counted_apart() -> None:
    state = alone([-0.02, 0.001])
    judged = state.experiments[6].judged
    assert judged is not None
    state.experiments[6].judged = replace(judged, verdict=Verdict.SIMPLIFICATION)
    *lines, count = kept_afresh.lines(state, SIGMA)
    assert lines[1].endswith("so it is simpler and not clearly worse.")
    assert count == "1 of 1 gain holds. 1 of 1 simplification is not clearly worse."


def test_before_all_are_measured_there_is_no_verdict() -> None:
    """The change between the two is measured on one of four seeds."""
    state = alone([-0.02, -0.01])
    scores = state.check(Role.FINAL).scores[state.commits[1]]
    for seed in list(scores)[1:]:
        del scores[seed]
    first, second, rest = kept_afresh.lines(state, SIGMA, 4)
    assert first.endswith("-0.0200 ± 0.0028 on 1 of 4 fresh seeds so far.")
    assert second.endswith("on 1 of 4 fresh seeds so far.")
    assert rest.startswith("Not all kept changes are measured; `make report ARGS=") and "--each --seeds 4" in rest
    assert phrases.planned_check(state, 4, Role.FINAL, each=True) == "", "how long a training takes is not known"
    assert state.baseline is not None
    state.baseline = replace(state.baseline, result=replace(state.baseline.result, total_wall_s=66.0))
    assert phrases.planned_check(state, 4, Role.FINAL, each=True) == "3 trainings, about 3 min."
    assert phrases.planned_check(state, 4, Role.FINAL, each=True, slots=2) == "3 trainings, 2 at a time, about 2 min."
    assert phrases.planned_check(state, 4, Role.FINAL, each=True, slots=8) == "3 trainings, 3 at a time, about 66 s."
    assert phrases.interrupted_check(state, Role.FINAL, 4, each=True).startswith(
        "Interrupted. 9 of 12 trainings are kept;"
    )


def test_one_that_could_not_be_measured_is_counted() -> None:
    state = alone([-0.02, -0.01, -0.03])
    check = state.check(Role.FINAL)
    check.tries.update({(state.commits[1], seed): CHECK_TRIES for seed in check.scores.pop(state.commits[1])})
    said = kept_afresh.lines(state, SIGMA)
    assert said[1:] == ["1 of 1 gain holds. 2 kept changes could not be scored."]


def test_the_log_names_the_kept_change_and_not_the_result_of_all() -> None:
    state = alone([-0.02, -0.01])
    first, second = (
        measurement(
            role="final check", commit=commit, seed=next(iter(state.check(Role.FINAL).scores[commit])), val_bpb=0.98
        )
        for commit in state.commits[1:]
    )
    assert (line(first, state) or "").endswith("  final check: the best with #3 0.9800")
    assert "  final check: the best 0.9800. Measured afresh on 4 fresh seeds" in (line(second, state) or "")


def test_a_check_of_a_run_that_has_ended_does_not_count_to_the_seeds_of_its_loop() -> None:
    state = alone([-0.02, -0.01])
    assert state.started is not None
    state.started = replace(state.started, final_seeds=7)
    launched = ev.Launched(job="j9", role=Role.FINAL, commit=state.commits[1], seed=5, slot=0)
    assert activity.place(state, launched) == "training 13"
    state.stopped = None
    assert activity.place(state, launched) == "13 of 14"
