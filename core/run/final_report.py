"""The final check of a run that has ended, on its own: `autoresearch report`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from core.execution.base import FILES, Executor, ExecutorFailed, MachineLost, Placed
from core.judging import final_check
from core.judging.final_check import FinalCheck
from core.judging.schedule import Work
from core.machine.project import UsageError
from core.model import Role
from core.record import events as ev
from core.record.fold import CHECK_TRIES
from core.record.live import Load
from core.run.active import ActiveRun
from core.run.jobs import interrupted
from nanochat.contract.job import Job, Outcome
from nanochat.contract.messages import Progress, Started


async def report(
    active: ActiveRun, executors: Sequence[Executor], seeds: int, role: Role = Role.FINAL, *, each: bool = False
) -> FinalCheck:
    """Train the start and the incumbent on fresh seeds, and score both on the test split. With a longer budget for LONGER.

    With `each`, the kept changes between the two are trained as well. All executors train at the same time.

    Each training is recorded. Those that an earlier check has recorded are not repeated.

    Raises:
        UsageError: The run has kept nothing, or one of the two could not be scored.
        ExecutorFailed: The harness failed.
    """
    if not active.state.kept:
        raise UsageError(
            f"Run {active.name} has kept nothing yet, so there is nothing to report on. Nothing was trained."
        )
    trainings = _Trainings(active, executors)
    await trainings.run(partial(final_check.next_work, active.state, seeds, role, each=each))
    active.publish_due(now=True)
    outcome = final_check.outcome(active.state, active.sigma, role)
    if outcome is None:
        raise UsageError(f"The start and the best could not both be scored on the test split: {trainings.last}.")
    return outcome


class _Trainings:
    """Trainings in several slots. `last`: why the latest training without a usable score has none."""

    def __init__(self, active: ActiveRun, executors: Sequence[Executor]) -> None:
        self.last = "its earlier trainings failed, and --seeds N with a larger N tries other seeds"
        self._active = active
        self._free = list(enumerate(executors))
        self._running: set[asyncio.Task[Outcome]] = set()
        self._lost = Counter[str]()  # commit -> trainings that were lost with their machine

    async def run(self, wanted: Callable[[], Iterable[Work]]) -> None:
        """Run what is wanted, until nothing more is. After an interruption or a failure of a harness, no more are started.

        Raises:
            ExecutorFailed: A harness failed. The other trainings have ended then, and are recorded.
        """
        goes_on, failure = True, None
        try:
            while True:
                if goes_on:
                    self._launch(list(wanted()))
                if not self._running:
                    break
                done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                self._running -= done
                for task in done:
                    try:
                        goes_on = task.result() is not Outcome.INTERRUPTED and goes_on
                    except ExecutorFailed as error:
                        goes_on, failure = False, failure or error
                if failure is not None and self._running:
                    self._note(f"{failure} The running trainings are finished and recorded first.")
        finally:
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
        if failure is not None:
            raise failure

    def _launch(self, wanted: Sequence[Work]) -> None:
        for work in wanted[: len(self._free)]:
            slot, executor = self._free.pop(0)
            job = self._active.trainings.launch(work, slot)
            self._running.add(asyncio.create_task(self._measure(slot, executor, job, work)))

    async def _measure(self, slot: int, executor: Executor, job: Job, work: Work) -> Outcome:
        """Run a job and record its result. Returns how it ended; a training that was lost with its machine counts as a failed one."""
        placed = [Placed(job.id, "")]  # node "": this machine

        def update(message: Started | Progress | Placed | Load) -> None:
            match message:
                case Started():
                    self._active.trainings.note_processes(message)
                case Placed():
                    placed.append(message)
                    for note in message.notes:
                        self._note(note)

        try:
            self._active.seal.check()
            result = await executor.run(job, update, work.nodes)
            self._active.seal.check()
            ended = result.outcome
        except MachineLost as error:  # others go on
            self._lost[work.commit] += 1
            result = interrupted(job, str(error), give_up=self._lost[work.commit] >= CHECK_TRIES)
            ended = Outcome.CRASH
        except OSError as error:
            raise ExecutorFailed(FILES.format(error=error)) from error
        finally:
            self._free.append((slot, executor))
        event = self._active.trainings.measured(work, result, placed[-1].node, placed[-1].kind)
        if why := event.disturbed or result.reason:
            self.last = why.removesuffix(".")
        return ended

    def _note(self, text: str) -> None:
        if text not in self._active.state.notices:
            self._active.record(ev.Notice(text=text))
