"""How long a machine that fails is waited for, and when a change is given up."""

from __future__ import annotations

import pytest

from core.loop import backoff as waits
from core.loop.backoff import BACKOFF_S, FAILING_S, HARNESS_GIVEN_UP_S, HARNESS_TRIES, STALLED_S, Backoff, Stall
from core.loop.machine_wait import MachineWait
from core.record import events as ev
from core.record import journal
from core.run.active import ActiveRun
from tests.core.run.test_active import active as active


def test_waits_grow_by_what_fails_until_it_succeeds() -> None:
    backoff = Backoff()
    waits = [backoff.failed("job", 100.0) for _ in range(12)]
    assert waits[:3] == [2.0, 4.0, 8.0] and waits[-1] == BACKOFF_S[1] and backoff.until == 100.0 + BACKOFF_S[1]
    assert backoff.failed("verdict", 100.0) == BACKOFF_S[0], "another thing"
    backoff.succeeded("job")
    assert backoff.failed("job", 100.0) == BACKOFF_S[0]


def test_a_change_is_given_up_only_where_others_work_or_after_long() -> None:
    backoff = Backoff()
    assert not any(failed(backoff, "a", at) for at in range(10)), "nothing works: that is the machine"
    assert failed(backoff, "a", HARNESS_GIVEN_UP_S + 1)
    backoff = Backoff()
    assert not failed(backoff, "b", 10.0)
    backoff.job_finished("other", 11.0)
    assert [failed(backoff, "b", 12.0 + at) for at in range(HARNESS_TRIES - 1)] == [False] * (HARNESS_TRIES - 2) + [
        True
    ]


def test_trainings_that_fail_together_count_once() -> None:
    backoff = Backoff()
    assert not any(backoff.harness_failed("a", 10.0 + at, began=1.0) for at in range(HARNESS_TRIES))
    backoff.job_finished("other", 20.0)
    assert not any(backoff.harness_failed("a", 30.0 + at, began=21.0) for at in range(HARNESS_TRIES)), "the second time"
    assert failed(backoff, "a", 40.0), "the third time"


def failed(backoff: Backoff, commit: str, now: float) -> bool:
    """The harness fails at a training that has just begun."""
    return backoff.harness_failed(commit, now, began=now)


def test_failures_with_results_between_them_are_not_held_against_a_change() -> None:
    backoff = Backoff()
    for at in range(0, 100, 10):
        assert not failed(backoff, "a", at) and not backoff.lost("a", at, began=at)
        backoff.job_finished("other", at + 1.0)
        backoff.job_finished("a", at + 2.0)


def test_the_user_is_told_once_that_something_fails_for_long() -> None:
    stall = Stall(STALLED_S)
    told = [stall.failed(float(at)) for at in range(0, 2 * int(STALLED_S), 300)]
    assert told.index(True) == STALLED_S / 300 and told.count(True) == 1
    stall.succeeded()
    assert not stall.failed(10_000.0) and stall.failed(10_001.0, STALLED_S), "nothing happens during a long wait"


def test_a_machine_that_keeps_failing_is_news_until_it_works() -> None:
    backoff = Backoff()

    def failed(at: float) -> bool:
        backoff.failed("job", at)
        return backoff.keeps_failing("job", at)

    assert [failed(0.0), failed(FAILING_S), failed(FAILING_S + 1)] == [False, True, False]
    backoff.job_finished("other", FAILING_S + 2)
    assert not failed(FAILING_S + 3)


def test_a_harness_that_keeps_failing_is_recorded_as_stalled(
    active: ActiveRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waits, "FAILING_S", 5.0)
    machine_wait = MachineWait(active)
    for _ in range(3):  # it waits 2, 4 and 8 s
        machine_wait.begin("The harness cannot be started.", "job")
    notices = [event for event in journal.read(active.folder / journal.NAME) if isinstance(event, ev.Notice)]
    assert [event.stalled for event in notices] == [False, False, True]
    assert notices[-1].text.startswith("No training was possible for 5 min. The harness cannot be started. It is tried")
