"""`autoresearch report` with several slots: trainings run at the same time, and none is lost if a harness fails."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from core.execution.base import Executor, ExecutorFailed, Update
from core.execution.deterministic import DeterministicExecutor
from core.judging.final_check import FinalCheck
from core.model import Role
from core.run.final_report import report
from nanochat.contract.job import Job, Result
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
    assert [event.scored for event in results(night, Role.FINAL)] == [True] and len(launches(night, Role.FINAL)) == 2
    night.clean_up()
    assert checked(night, [DeterministicExecutor(WORLD)], 3).seeds == 3
    check(night)
    scored = Counter(key(event) for event in results(night, Role.FINAL) if event.scored)
    assert len(scored) == 6 and set(scored.values()) == {1}, "what was recorded is not repeated"
