"""`autoresearch report` with several slots: trainings run at the same time, and none is lost if a harness fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from core.execution.base import Executor, ExecutorFailed, MachineLost, Placed, Update
from core.execution.deterministic import DeterministicExecutor
from core.judging.final_check import FinalCheck
from core.machine.project import UsageError
from core.model import Role
from core.record import events as ev
from core.run.final_report import report
from nanochat.contract.job import CrashClass, Job, Outcome, Result
from tests.core.loop.night import Night
from tests.core.loop.outcomes import check, key, launches, results
from tests.core.loop.test_nights import GOOD, WORLD

LONGEST_S = 20.0


def checked(night: Night, executors: Sequence[Executor], seeds: int) -> FinalCheck:
    active = night.active()
    with contextlib.closing(active.journal):
        return asyncio.run(asyncio.wait_for(report(active, executors, seeds), LONGEST_S))


class Meeting(DeterministicExecutor):
    """Begins each training only when all slots have one."""

    def __init__(self, barrier: asyncio.Barrier) -> None:
        super().__init__(WORLD)
        self._barrier = barrier

    async def run(self, job: Job, update: Update, nodes: Collection[str] = ()) -> Result:
        await self._barrier.wait()
        return await super().run(job, update, nodes)


@pytest.mark.parametrize("slots", [2, 4])
def test_all_slots_train_at_the_same_time(tmp_path: Path, slots: int) -> None:
    one, several = Night(tmp_path / "one"), Night(tmp_path / "several")
    for night in (one, several):
        night.run([GOOD], WORLD)
    barrier = asyncio.Barrier(slots)
    found = checked(several, [Meeting(barrier) for _ in range(slots)], 4)
    assert found == checked(one, [DeterministicExecutor(WORLD)], 4) and found.seeds == 4
    assert Counter(event.slot for event in launches(several, Role.FINAL)) == dict.fromkeys(range(slots), 8 // slots)
    check(several)


def test_more_slots_than_trainings_are_no_problem(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.run([GOOD], WORLD)
    assert checked(night, [DeterministicExecutor(WORLD) for _ in range(5)], 1).seeds == 1
    assert {event.slot for event in launches(night, Role.FINAL)} == {0, 1}
    check(night)


def test_the_reason_of_a_failure_is_told_although_another_training_ends_later(tmp_path: Path) -> None:
    night = Night(tmp_path)
    start = night.run([GOOD], WORLD).commits[0]

    class Crashing(DeterministicExecutor):
        async def run(self, job: Job, update: Update, nodes: Collection[str] = ()) -> Result:
            launched = next(event for event in launches(night) if event.job == job.id)
            if launched.commit == start:
                return Result(job=job.id, outcome=Outcome.CRASH, crash=CrashClass.EXCEPTION, reason="CUDA is broken.")
            await asyncio.sleep(0.05)
            return await super().run(job, update, nodes)

    with pytest.raises(UsageError, match=r"on the test split: CUDA is broken\.$"):
        checked(night, [Crashing(WORLD), Crashing(WORLD)], 1)
    assert [event.scored for event in results(night, Role.FINAL)] == [False, True]


def test_a_training_that_was_lost_with_its_machine_is_repeated(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.run([GOOD], WORLD)
    lost: list[str] = []

    class Losing(DeterministicExecutor):
        async def run(self, job: Job, update: Update, nodes: Collection[str] = ()) -> Result:
            update(Placed(job.id, "", notes=("A node has little room.",)))
            if len(lost) < 2:
                lost.append(job.id)
                raise MachineLost("The node is gone.")
            return await super().run(job, update, nodes)

    assert checked(night, [Losing(WORLD), Losing(WORLD)], 2).seeds == 2
    state = check(night)
    assert len(lost) == 2 and state.notices >= {"A node has little room."}
    ended = Counter(event.result.outcome for event in results(night, Role.FINAL))
    assert ended == {Outcome.INTERRUPTED: 2, Outcome.SCORED: 4}


def test_a_machine_that_is_always_lost_ends_the_check(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.run([GOOD], WORLD)

    class Gone(DeterministicExecutor):
        async def run(self, job: Job, update: Update, nodes: Collection[str] = ()) -> Result:
            raise MachineLost("The node is gone.")

    with pytest.raises(UsageError, match="The node is gone"):
        checked(night, [Gone(WORLD)], 2)


def test_cancelled_it_ends_all_trainings_and_keeps_what_had_ended(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.run([GOOD], WORLD)
    began: list[str] = []
    all_hang = asyncio.Event()

    class Hanging(DeterministicExecutor):
        async def run(self, job: Job, update: Update, nodes: Collection[str] = ()) -> Result:
            began.append(job.id)
            if len(began) == 4:
                all_hang.set()
            if len(began) > 2:
                await asyncio.Event().wait()
            return await super().run(job, update, nodes)

    async def cancelled() -> None:
        task = asyncio.create_task(report(active, [Hanging(WORLD), Hanging(WORLD)], 3))
        async with asyncio.timeout(LONGEST_S):
            await all_hang.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled() and len(asyncio.all_tasks()) == 1, "no training goes on"

    active = night.active()
    with contextlib.closing(active.journal):
        asyncio.run(cancelled())
    assert [event.job for event in results(night, Role.FINAL)] == began[:2]
    night.clean_up()
    assert checked(night, [DeterministicExecutor(WORLD)], 3).seeds == 3
    check(night)


def test_if_a_harness_fails_the_other_trainings_are_recorded(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.run([GOOD], WORLD)
    failed = asyncio.Event()

    class Failing(DeterministicExecutor):
        async def run(self, job: Job, update: Update, nodes: Collection[str] = ()) -> Result:
            failed.set()
            raise ExecutorFailed("The harness is gone.")

    class Slower(DeterministicExecutor):
        async def run(self, job: Job, update: Update, nodes: Collection[str] = ()) -> Result:
            await failed.wait()
            for _ in range(10):  # the failure is known by now
                await asyncio.sleep(0)
            return await super().run(job, update, nodes)

    with pytest.raises(ExecutorFailed, match="The harness is gone"):
        checked(night, [Failing(WORLD), Slower(WORLD)], 3)
    notices = [event.text for event in night.events() if isinstance(event, ev.Notice)]
    assert notices == ["The harness is gone. The running trainings are finished and recorded first."]
    assert [event.scored for event in results(night, Role.FINAL)] == [True] and len(launches(night, Role.FINAL)) == 2
    night.clean_up()
    assert checked(night, [DeterministicExecutor(WORLD)], 3).seeds == 3
    check(night)
    scored = Counter(key(event) for event in results(night, Role.FINAL) if event.scored)
    assert len(scored) == 6 and set(scored.values()) == {1}, "what was recorded is not repeated"
