"""Nights on a machine that fails: harnesses, files, devices and nodes. No change is blamed for what it has not done."""

from __future__ import annotations

import errno
import itertools
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from core.execution.base import DataUnusable, DeviceGone, ExecutorFailed, ExecutorLost, MachineLost, Update
from core.execution.deterministic import DeterministicExecutor
from core.loop import backoff
from core.record import events as ev
from core.record.fold import fold
from core.run.integrity import IntegrityCheck
from nanochat.contract.job import Job, Outcome, Result
from tests.core.loop.night import Answer, Night
from tests.core.loop.test_nights import BAD, GOOD, WORLD, verdicts
from tests.core.loop.test_nights import night as night
from tests.core.loop.test_nights import quick as quick


class Failing(DeterministicExecutor):
    """Raises instead of answering, at certain jobs (counted from 1)."""

    def __init__(self, answer: Answer, fails: Callable[[int, Job], Exception | None]) -> None:
        super().__init__(answer)
        self.fails, self.jobs = fails, 0

    async def run(self, job: Job, update: Update, nodes: Collection[str] = ()) -> Result:
        self.jobs += 1
        if (error := self.fails(self.jobs, job)) is not None:
            raise error
        return await super().run(job, update)


@pytest.mark.parametrize("job", range(1, 5))
def test_a_harness_that_breaks_once_costs_that_job_only(night: Night, job: int) -> None:
    broken = Failing(WORLD, lambda count, _: ExecutorFailed("The harness is gone.") if count == job else None)
    state = night.run([GOOD, BAD], WORLD, executors=[broken])
    assert verdicts(state) == ["keep", "discard"]
    again = [
        event
        for event in night.events()
        if isinstance(event, ev.Measured) and event.result.outcome is Outcome.INTERRUPTED
    ]
    assert len(again) == 1 and "The harness is gone." in again[0].result.reason


@pytest.mark.parametrize("job", range(1, 5))
@pytest.mark.parametrize("where", ["executor", "files of the run"])
def test_an_error_of_the_file_system_costs_that_job_only(
    night: Night, monkeypatch: pytest.MonkeyPatch, where: str, job: int
) -> None:
    """As when the folder of the logs is on another machine, and does not answer for a moment."""
    error = OSError(errno.EIO, os.strerror(errno.EIO))
    executor = Failing(WORLD, lambda count, _: error if count == job and where == "executor" else None)
    checks, check = itertools.count(), IntegrityCheck.check

    def failing(seal: IntegrityCheck) -> None:
        if (
            next(checks) == 2 * job - 1 and where != "executor"
        ):  # the first one is at the start, and each training has two
            raise error
        check(seal)

    monkeypatch.setattr(IntegrityCheck, "check", failing)
    state = night.run([GOOD, BAD], WORLD, executors=[executor])
    assert verdicts(state) == ["keep", "discard"] and not state.running and state.finished
    (again,) = [
        event.result.reason
        for event in night.events()
        if isinstance(event, ev.Measured) and event.result.outcome is Outcome.INTERRUPTED
    ]
    assert again.startswith("The files of a job cannot be read or written ([Errno 5]") and "is kept" in again


def test_a_device_that_is_gone_is_waited_for_and_no_change_is_blamed(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A harness that fails for as long would make each of these changes a crash."""
    monkeypatch.setattr(backoff, "HARNESS_GIVEN_UP_S", 0.0)
    gone = Failing(WORLD, lambda count, _: DeviceGone("The GPU cannot be used.") if 2 <= count <= 9 else None)
    state = night.run([GOOD, BAD], WORLD, executors=[gone])
    assert verdicts(state) == ["keep", "discard"] and state.finished and gone.jobs > 9


def test_a_change_alone_without_the_device_is_given_up(night: Night) -> None:
    """A train.py can hide the device from itself."""

    def fails(count: int, job: Job) -> Exception | None:
        return DeviceGone("The GPU cannot be used.") if BAD in Path(job.source).read_text() else None

    state = night.run([BAD, GOOD], WORLD, executors=[Failing(WORLD, fails), DeterministicExecutor(WORLD)])
    assert sorted(verdicts(state)) == ["crash", "keep"]


def test_a_change_that_always_breaks_the_harness_is_given_up(night: Night) -> None:
    def fails(count: int, job: Job) -> Exception | None:
        return ExecutorFailed("The harness is gone.") if BAD in Path(job.source).read_text() else None

    state = night.run([BAD, GOOD], WORLD, executors=[Failing(WORLD, fails), DeterministicExecutor(WORLD)])
    assert sorted(verdicts(state)) == ["crash", "keep"]


def test_a_change_is_not_blamed_for_lost_machines_and_nothing_waits(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs of other changes end meanwhile, so three failures of a harness would make it a crash."""
    monkeypatch.setattr(backoff, "BACKOFF_S", (10.0, 10.0))

    def fails(count: int, job: Job) -> Exception | None:
        nonlocal lost
        if GOOD not in Path(job.source).read_text() or lost == 5:
            return None
        lost += 1
        return MachineLost("Node a has ended.")

    lost, started = 0, time.monotonic()
    state = night.run([GOOD, BAD], WORLD, executors=[Failing(WORLD, fails), DeterministicExecutor(WORLD)])
    assert sorted(verdicts(state)) == ["discard", "keep"] and lost == 5
    assert time.monotonic() - started < 20  # waits for the harness would be 50 s
    said = [event.text for event in night.events() if isinstance(event, ev.Notice)]
    assert said.count("Node a has ended.") == 5


def test_a_change_under_which_ever_more_machines_are_lost_is_given_up() -> None:
    found = backoff.Backoff()
    assert not any(found.lost("c", now, began=now) for now in range(20)), (
        "no other job has ended: the cluster may be at fault"
    )
    found.job_finished("other", 20.0)
    assert found.lost("c", 21.0, 20.5) and not found.lost("other", 21.0, 20.5)


def test_data_that_cannot_be_used_ends_the_run_with_its_words(night: Night) -> None:
    broken = Failing(WORLD, lambda count, _: DataUnusable("The data is gone.") if count == 2 else None)
    with pytest.raises(DataUnusable):
        night.run([GOOD], WORLD, executors=[broken])
    stopped = fold(night.events()).stopped
    assert stopped is not None and "The data is gone." in stopped.reason


def test_a_lost_executor_ends_the_run_with_its_words_and_the_next_start_goes_on(night: Night) -> None:
    broken = Failing(WORLD, lambda count, _: ExecutorLost("The cluster is gone.") if count == 2 else None)
    with pytest.raises(ExecutorLost):
        night.run([GOOD], WORLD, executors=[broken])
    stopped = fold(night.events()).stopped
    assert stopped is not None and stopped.reason == "The cluster is gone." and not stopped.finished
    active = night.active()
    active.experiments.interrupt_running("the loop ended while it ran")  # as every start does
    active.journal.close()
    state = night.run([BAD], WORLD)
    assert verdicts(state) == ["interrupted", "keep", "discard"] and not state.running
    launched, measured = (
        [event.job for event in night.events() if isinstance(event, kind)] for kind in (ev.Launched, ev.Measured)
    )
    assert sorted(launched) == sorted(measured) and len(set(measured)) == len(measured)
