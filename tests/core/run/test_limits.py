"""Limits of a start: a run that was stopped, or whose loop died, keeps those of its last start."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from core.execution.deterministic import World
from core.loop.ending import Ending
from core.machine.project import Project
from core.model import Limits
from core.record import events as ev
from core.record.fold import apply, fold
from core.record.state import State
from core.reporting.log_lines import line
from core.run.active import killed_end
from core.run.limits import LimitOptions, StartLimits, start_limits
from core.run.options import Options
from core.run.plan import make_plan
from tests.core.run.runs import DONE, TOLD, write_run
from tests.e2e.conftest import prepared, product  # noqa: F401
from tests.product import Product, harmless

HOUR = 3600.0


def started(t: float, **fields: object) -> ev.Started:
    return ev.Started(pid=1, agent="search", approval="auto", slots=1, t=t, **fields)  # type: ignore[arg-type]


def stopped(t: float, *, finished: bool = False) -> ev.Stopped:
    return ev.Stopped(reason="told", t=t, finished=finished)


LAST = started(0.0, limits=Limits(max_experiments=9, max_hours=8.0, max_crashes_in_a_row=3))


@pytest.mark.parametrize("end", [(stopped(HOUR * 2),), (ev.Notice(text="the last words", t=HOUR * 2),)])
def test_a_resumed_run_keeps_its_limits_and_the_hours_count_on(end: tuple[ev.AnyEvent, ...]) -> None:
    state = fold([LAST, *end])
    found = start_limits(LimitOptions(), state)
    assert found == StartLimits(LAST.limits, ("max_experiments", "max_hours", "max_crashes_in_a_row"), 2.0)
    again = started(HOUR * 90, limits=found.limits, carried=found.carried, hours_before=found.hours_before)
    assert start_limits(LimitOptions(), fold([again, stopped(HOUR * 93)], state)).hours_before == pytest.approx(5.0)


def test_hours_in_which_no_loop_worked_do_not_count() -> None:
    """The machine went down at two o'clock and was started again at nine; the loop before that slept for five hours."""
    state = fold([LAST, ev.Notice(text="the last words", t=HOUR * 2), ev.Torn(size=3, t=HOUR * 9)])
    end = killed_end(state)
    assert end is not None and end.worked_s == HOUR * 2 and "killed" in end.reason
    apply(state, replace(end, t=HOUR * 9))
    apply(state, ev.Notice(text="a report", t=HOUR * 10))
    assert killed_end(state) is None and start_limits(LimitOptions(), state).hours_before == 2.0
    assert state.worked_s == HOUR * 2
    again = started(HOUR * 11, limits=LAST.limits, carried=("max_hours",), hours_before=2.0)
    slept = fold([again, ev.Stopped(reason="told", worked_s=HOUR, t=HOUR * 17)], state)
    assert slept.worked_s == HOUR * 3 and start_limits(LimitOptions(), slept).hours_before == 3.0


def test_a_limit_that_is_given_anew_replaces_only_its_own() -> None:
    state = fold([LAST, stopped(HOUR * 2)])
    found = start_limits(LimitOptions(max_hours=1.0, max_crashes=20), state)
    assert found == StartLimits(Limits(max_experiments=9, max_hours=1.0), ("max_experiments",), 0.0)


def test_a_finished_run_and_a_new_one_have_no_limits_but_those_that_are_given() -> None:
    for state in (fold([LAST, stopped(HOUR, finished=True)]), State(), None):
        assert start_limits(LimitOptions(), state) == StartLimits()
    assert start_limits(LimitOptions(max_experiments=4)).limits == Limits(max_experiments=4)


def test_the_plan_of_a_start_has_the_limits_of_the_journal(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    write_run(project, "night", started(0.0, limits=Limits(max_experiments=9)), TOLD)
    write_run(project, "done", started(0.0, limits=Limits(max_experiments=9)), DONE)
    assert make_plan(project, Options(name="night")).ends.limits.max_experiments == 9
    asked = make_plan(project, Options(name="night", limits=LimitOptions(max_experiments=12))).ends
    assert asked == StartLimits(Limits(max_experiments=12))
    assert make_plan(project, Options(name="done")).ends.limits.max_experiments is None


def test_hours_of_earlier_starts_count_against_the_limit() -> None:
    ending = Ending(Limits(max_hours=8.0), hours_before=8.0)
    ending.check(State(), nothing_left=False)
    assert ending.finished and ending.reason == "reached --max-hours 8"
    ending = Ending(Limits(max_hours=8.0), hours_before=7.9)
    ending.check(State(), nothing_left=False)
    assert not ending.reason


def test_the_log_line_of_a_start_names_its_limits(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    config = make_plan(project, Options(name="night", dataset="python", profile="tiny", device="cpu")).config
    for fields, words in (
        ({}, "1 at a time"),
        ({"limits": Limits(max_experiments=9)}, " · ends at 9 experiments"),
        (
            {"limits": LAST.limits, "carried": ("max_experiments", "max_hours"), "hours_before": 2.5},
            " · ends at 9 experiments (as before) or after 8 h (as before, 2.5 h used) or after 3 failures in a row",
        ),
    ):
        event = started(1.0, **fields)
        state = fold([ev.Created(v=ev.SCHEMA, config=config), event], State(name="night"))
        said = line(event, state)
        assert said is not None and said.endswith(words)


def test_a_run_whose_loop_was_killed_ends_at_the_limit_it_was_begun_with(product: Product) -> None:  # noqa: F811
    product.compute(World(seeds=0.01, noise=0.002, seconds=0.2))
    agent = product.script(*map(harmless, range(40)))
    loop = product.start(*product.options(), "--agent", agent, "--budget", "0.5", "--max-experiments", "4")
    assert loop.stdout is not None
    for words in loop.stdout:
        if "#1 " in words and "proposed" not in words and "training" not in words:  # its verdict
            break
    loop.kill()
    loop.communicate()
    assert 0 < product.state().judged < 4
    done = product.run(name="r")
    assert done.returncode == 0 and "ends at 4 experiments (as before)" in done.stdout, done.stdout + done.stderr
    assert "reached --max-experiments 4" in done.stdout and product.state().judged == 4
