"""The place of a training among those that belong together."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from core.model import Role
from core.record import events as ev
from core.record.fold import apply
from core.record.live import Picture, Slot
from core.record.state import State
from core.reporting import activity, log_lines, status
from tests.core.reporting.reports import START, state_of
from tests.events import measurement


def launched(state: State, role: Role, commit: str, seed: int, number: int | None = None) -> ev.Launched:
    event = ev.Launched(job=f"{role}-{seed}-{commit[-3:]}", role=role, commit=commit, seed=seed, slot=0, number=number)
    apply(state, event)
    return event


def test_a_confirmation_counts_its_seeds() -> None:
    state = state_of(3)
    one = launched(state, Role.REPLICATE, state.experiments[2].commit, 7, 2)
    assert activity.place(state, one) == "seed 2 of at most 8"
    assert (log_lines.line(one, state) or "").endswith("#2 looks promising: seed 2 of at most 8")
    slot = Slot(slot=0, number=2, role=Role.REPLICATE, job=one.job, phase="training", progress=0.5)
    state.stopped = None
    assert status.phase(state, 1, Picture(slots=(slot,))) == "#2 confirming, seed 2 of at most 8 50%"
    other = launched(state, Role.REPLICATE, state.experiments[2].commit, 8, 2)
    assert [activity.place(state, job) for job in (one, other)] == ["seed 2 of at most 8", "seed 3 of at most 8"]
    beside = launched(state, Role.INCUMBENT, START, 7, 2)
    assert activity.place(state, beside) == "for #2"
    assert activity.place(state, launched(state, Role.CANDIDATE, state.experiments[3].commit, 7, 3)) == ""


@pytest.mark.parametrize(
    ("seeds", "places"), [(2, ["1 of 4", "2 of 4", "3 of 4"]), (0, ["training 1", "training 2", "training 3"])]
)
def test_a_final_check_counts_its_trainings(seeds: int, places: list[str]) -> None:
    """Those that have ended, and those that were launched before. A check that was asked for later has no known end."""
    state = state_of(4, keep_every=2)
    assert state.started is not None
    state.started, state.stopped = replace(state.started, final_seeds=seeds), None
    first = launched(state, Role.FINAL, START, 1)
    second = launched(state, Role.FINAL, state.incumbent, 1)
    assert [activity.place(state, one) for one in (first, second)] == places[:2]
    apply(state, measurement(job=first.job, role=Role.FINAL, commit=START, seed=1, val_bpb=1.0))
    assert activity.place(state, second) == places[1]
    third = launched(state, Role.FINAL, START, 2)
    assert activity.place(state, third) == places[2]
    assert f"final check {places[2]}: the start on a fresh seed" in (log_lines.line(third, state) or "")


def test_a_phase_is_named_in_words() -> None:
    assert (
        activity.doing(Role.INCUMBENT, "setup") == "setting up" and activity.doing(Role.FINAL, "scoring") == "scoring"
    )
