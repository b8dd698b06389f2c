"""Every kept change alone on fresh seeds: which trainings that takes, and what is found."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from core.execution.deterministic import World
from core.judging import final_check, policy
from core.judging.final_check import FIRST, FinalCheck, Step
from core.model import Role
from core.record import events as ev
from core.record import journal
from core.record.fold import CHECK_TRIES, fold
from core.record.state import State
from core.run.final_report import report
from tests.core.loop.night import Night
from tests.core.loop.outcomes import FAULTS, Choose, End, Ending, check, launches

FIRST_CHANGE, SECOND_CHANGE = "K1 = 1", "K2 = 1"
WORLD = World(effects={FIRST_CHANGE: -0.2, SECOND_CHANGE: -0.1, "K3 = 1": -0.05}, seeds=0.01, noise=0.002)
SEEDS, SIGMA = 4, 0.002


def each(night: Night, choose: Choose = lambda launched, count: None, *, alone: bool = True) -> FinalCheck:
    active = night.active()
    with contextlib.closing(active.journal):
        return asyncio.run(report(active, [Ending(night, WORLD, choose)], SEEDS, each=alone))


def trained(night: Night) -> Counter[str]:
    return Counter(event.commit for event in launches(night, Role.FINAL))


def test_each_kept_change_is_measured_alone(tmp_path: Path) -> None:
    night = Night(tmp_path)
    before = night.run([FIRST_CHANGE, SECOND_CHANGE], WORLD)
    assert before.kept == [1, 2]
    both = each(night, alone=False)
    assert trained(night) == {before.commits[0]: SEEDS, before.commits[2]: SEEDS}
    assert final_check.steps(check(night), SIGMA) == {}, "start and best alone say nothing about one of them"

    assert each(night) == both, "the start and the best are not trained again"
    state = check(night)
    assert trained(night) == dict.fromkeys(before.commits, SEEDS) and state.scores == before.scores
    steps = final_check.steps(state, SIGMA)
    assert list(steps) == [1, 2] and all(step.holds and step.seeds == SEEDS for step in steps.values())
    assert steps[1].change == pytest.approx(-0.2, abs=0.01) and steps[2].change == pytest.approx(-0.1, abs=0.01)
    assert steps[1].change + steps[2].change == pytest.approx(both.change)
    assert all(step.error >= SIGMA * (2 / SEEDS) ** 0.5 for step in steps.values())

    assert each(night) == both and trained(night) == dict.fromkeys(before.commits, SEEDS), "nothing is repeated"


def test_a_kept_change_without_a_score_costs_no_other_figure(tmp_path: Path) -> None:
    night = Night(tmp_path)
    first = night.run([FIRST_CHANGE, SECOND_CHANGE], WORLD).commits[1]

    def fails(launched: ev.Launched, count: int) -> End | None:
        return FAULTS["crash: exception"] if launched.role is Role.FINAL and launched.commit == first else None

    assert each(night, fails).complete
    assert final_check.steps(check(night), SIGMA) == {}
    before = trained(night)
    assert each(night, fails).complete and trained(night) == before, "it is not tried again"


def test_a_simplification_holds_if_it_is_not_worse() -> None:
    found = {
        (change, simpler): Step(1.0, 1.0 + change, 0.001, 4, 4, is_simplification=simpler).holds
        for change in (-0.003, -0.001, 0.001, 0.003)
        for simpler in (False, True)
    }
    assert [change for (change, simpler), holds in found.items() if holds and not simpler] == [-0.003]
    assert [change for (change, simpler), holds in found.items() if holds and simpler] == [-0.003, -0.001, 0.001]
    assert not Step(1.0, 0.997, 0.001, 3, 4).holds and not Step(1.0, 1.003, 0.001, 3, 4).is_worse, "not all seeds"


def test_those_that_are_compared_are_trained_close_in_time(tmp_path: Path) -> None:
    night = Night(tmp_path)
    before = night.run([FIRST_CHANGE, SECOND_CHANGE, "K3 = 1"], WORLD)
    assert before.kept == [1, 2, 3]
    each(night)
    turns = [before.commits.index(event.commit) for event in launches(night, Role.FINAL)]
    assert turns == [0, 3, 1, 2, 2, 1, 3, 0] * (SEEDS // 2)
    for start in range(0, len(turns), 4):
        of_seed = turns[start : start + 4]
        apart = [abs(of_seed.index(one) - of_seed.index(other)) for one, other in ((0, 1), (1, 2), (2, 3), (0, 3))]
        assert max(apart) <= 2


def test_a_score_from_another_time_is_measured_again(tmp_path: Path) -> None:
    """The kept change between start and best was trained a day later than they were."""
    night = Night(tmp_path)
    before = night.run([FIRST_CHANGE, SECOND_CHANGE], WORLD)
    each(night)
    assert before.config is not None
    seed, (start, middle, best) = policy.seed(before.config.seed, FIRST), before.commits

    def later(event: ev.AnyEvent) -> ev.AnyEvent:
        is_it = isinstance(event, ev.Measured) and (event.role, event.commit, event.seed) == (Role.FINAL, middle, seed)
        return replace(event, t=event.t + 86_400.0) if is_it else event

    state = fold(map(later, night.events()), State(name="night"))
    assert not list(final_check.next_work(state, SEEDS)), "the start and the best still form a pair"
    wanted = [(work.commit, work.seed) for work in final_check.next_work(state, SEEDS, each=True)]
    assert wanted == [(start, seed), (best, seed)]
    assert [step.seeds for step in final_check.steps(state, SIGMA).values()] == [SEEDS - 1] * 2
    state.check(Role.FINAL).tries[best, seed] = CHECK_TRIES
    assert not list(final_check.next_work(state, SEEDS, each=True)), "not for ever"


def test_figures_of_a_complete_check_stay_whatever_happens_later(tmp_path: Path) -> None:
    """A day after it, the kept change between the two is measured. So the start is trained again, and the best, which fails."""
    night = Night(tmp_path)
    before = night.run([FIRST_CHANGE, SECOND_CHANGE], WORLD)
    both = each(night, alone=False)
    start, _, best = before.commits

    def fails(launched: ev.Launched, count: int) -> End | None:
        return FAULTS["crash: exception"] if launched.commit == best else None

    earlier = [replace(event, t=event.t - 86_400.0) for event in night.events()]
    (night.folder / journal.NAME).write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in earlier))
    assert each(night, fails) == both
    assert trained(night)[best] == 2 * SEEDS and trained(night)[start] > SEEDS
    state = fold(night.events(), State(name="night"))
    found = final_check.outcome(state, SIGMA)
    assert found is not None and found.seeds == found.wanted == SEEDS
    steps = final_check.steps(state, SIGMA)
    assert list(steps) == [1] and steps[1].complete, "the best has no score of this day"
