"""What the status line is told of a final check."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from core.execution.deterministic import World
from core.judging import final_check, schedule
from core.loop.loop import Loop
from core.model import Role
from core.record import events as ev
from core.record import journal
from core.record.fold import apply, fold
from core.record.live import Picture, Slot
from core.record.state import State
from core.run import commands
from tests.core.loop.night import Night
from tests.core.loop.test_nights import told, until
from tui.actions.loop import gentle_stop
from tui.view.status import run_status

GOOD = "K1 = 1"
RECORDED = Path(__file__).parents[2] / "recorded"


def test_the_final_check_is_shown_while_it_runs_and_after_it(tmp_path: Path) -> None:
    night = Night(tmp_path, seconds=0.02, final_seeds=1)
    shown: list[tuple[str, str, str]] = []

    async def look(loop: Loop) -> None:
        state = loop.active.state
        await until(lambda: state.kept)
        before = gentle_stop(state, False)
        await told(loop, commands.Stop())
        await until(lambda: any(launched.role is Role.FINAL for launched in state.running.values()))
        status = run_status(state, Picture(stopping=True), True, state.last_t, None)
        shown.append((before, gentle_stop(state, True), f"{status.doing} / {status.alarm}"))

    state = night.run([GOOD, *(f"K3 = {i}" for i in range(1, 30))], World(effects={GOOD: -0.2}), meanwhile=look)
    assert shown == [
        (
            "yes, after this experiment and the final check of the best",
            "yes, after this training, without the rest of the final check",
            "final check starting / ends after the final check",
        )
    ]
    noise = schedule.noise(state)
    assert run_status(state, Picture(), False, state.last_t, noise).checked == final_check.outcome(state, noise.sigma)


@pytest.mark.parametrize(
    ("running", "words"),
    [
        ([3], "#3 training"),
        ([3, 4], "#3 #4 training"),
        ([3, -4], "#3 training, #4 scoring"),
        ([3, 4, 5], "#5 training and 2 more"),
        ([None, 4], "#4 training and 1 more"),
    ],
)
def test_all_trainings_are_named_or_counted(running: list[int | None], words: str) -> None:
    state = State(name="r")
    slots = []
    for number in running:
        role = Role.CANDIDATE if number else Role.BASELINE
        job = f"job-{number}"
        phase, number = ("scoring", -number) if number and number < 0 else ("training", number)
        state.running[job] = ev.Launched(job=job, role=role, commit="c", seed=1, number=number, slot=0)
        slots.append(Slot(slot=0, job=job, role=role, number=number, phase=phase, progress=0.5))
    assert run_status(state, Picture(slots=tuple(reversed(slots))), True, 100.0, None).doing == words


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (Role.INCUMBENT, "#3 confirming, seed 1 of at most 8, and the best"),
        (Role.REPLICATE, "#3 confirming, seed 2 of at most 8 and 1 more"),
    ],
)
def test_two_trainings_for_one_experiment_are_not_named_twice(second: Role, words: str) -> None:
    state, slots = State(name="r"), []
    for seed, role in enumerate((Role.REPLICATE, second), 1):
        job, commit = f"job-{seed}", "fit" if role is Role.INCUMBENT else "c"
        state.running[job] = ev.Launched(job=job, role=role, commit=commit, seed=seed, number=3, slot=seed)
        slots.append(Slot(slot=seed, job=job, role=role, number=3, phase="training", progress=0.5))
    assert run_status(state, Picture(slots=tuple(slots)), True, 100.0, None).doing == words


def test_a_run_without_a_loop_has_no_pace_and_counts_all_its_loops() -> None:
    state = fold(journal.read(RECORDED / "found" / "events.jsonl"))
    stopped = run_status(state, Picture(), False, state.last_t + 3600.0, None)
    assert stopped.per_hour is None and stopped.worked_s == state.worked_s
    assert state.started is not None and state.worked_s > state.last_t - state.started.t, "it was resumed once"
    before = state.worked_s
    apply(state, replace(state.started, t=state.last_t + 100.0))
    assert run_status(state, Picture(), True, state.started.t + 60.0, None).worked_s == pytest.approx(before + 60.0)
