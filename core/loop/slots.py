"""The slots, in which jobs run. Each runs one job at a time and records its result."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from core.execution.base import (
    FILES,
    DataUnusable,
    DeviceGone,
    Executor,
    ExecutorFailed,
    ExecutorLost,
    MachineLost,
    Placed,
)
from core.git.errors import RepositoryError
from core.judging.schedule import Work
from core.loop.ending import Ending
from core.loop.machine_wait import MachineWait
from core.record import events as ev
from core.record.journal import JournalError
from core.record.live import Load
from core.run.active import ActiveRun
from core.run.integrity import TamperedError
from core.run.jobs import interrupted
from core.run.live import Live
from nanochat.contract.job import Job, Outcome
from nanochat.contract.messages import Progress, Started


@dataclass
class Slot:
    """A place where one job at a time can run."""

    index: int
    executor: Executor
    task: asyncio.Task[None] | None = None
    work: Work | None = None
    node: str = ""  # the machine of a cluster on which the job runs
    kind: str = ""  # its processor or card
    load: Load | None = None  # how busy it is


class Slots:
    """All slots of a run. `wake` wakes the loop."""

    def __init__(
        self,
        active: ActiveRun,
        executors: Iterable[Executor],
        ending: Ending,
        machine_wait: MachineWait,
        live: Live,
        wake: Callable[[], None],
    ) -> None:
        self._active, self._ending, self._machine_wait, self._live, self._wake = (
            active,
            ending,
            machine_wait,
            live,
            wake,
        )
        self._slots = [Slot(index, executor) for index, executor in enumerate(executors)]

    @property
    def busy(self) -> bool:
        return any(slot.task is not None for slot in self._slots)

    def launch(self, wanted: Callable[[], Iterable[Work]]) -> None:
        """Start wanted measurements in the free slots."""
        free = [slot for slot in self._slots if slot.task is None]
        if self._ending.now or self._ending.failure or not free or self._machine_wait.waiting:
            return
        for slot, work in zip(free, wanted(), strict=False):
            slot.work, slot.node, slot.kind, slot.load = work, "", "", None
            slot.task = asyncio.create_task(self._measure(slot, work))

    async def _measure(self, slot: Slot, work: Work) -> None:
        try:
            if work.number in self._active.state.aborted:
                return
            job = self._active.trainings.launch(work, slot.index)
            self._wake()  # another proposal may be wanted now
            await self._run(slot, work, job)
        except (JournalError, TamperedError, DataUnusable, ExecutorLost) as error:
            self._ending.fail(error)
        except RepositoryError as error:
            self._machine_wait.begin(str(error), "job")
        except asyncio.CancelledError:
            await slot.executor.abort()
            raise
        except OSError as error:
            self._machine_wait.begin(FILES.format(error=error), "job")
        except Exception as error:  # a bug: end the loop cleanly
            self._ending.fail(error)
        finally:
            self._live.forget(slot.index)
            slot.task = slot.work = None
            self._wake()

    async def _run(self, slot: Slot, work: Work, job: Job) -> None:
        backoff, began = self._machine_wait.backoff, time.monotonic()
        try:
            self._active.seal.check()
            result = await slot.executor.run(job, lambda message: self._update(slot, work, message), work.nodes)
            self._active.seal.check()
            if result.outcome is Outcome.INTERRUPTED and work.number not in self._active.state.aborted:
                raise ExecutorFailed(f"The harness gave up on a job: {result.reason}")
            backoff.job_finished(work.commit, time.monotonic())
        except MachineLost as error:  # others go on, so nothing waits
            self._active.record(ev.Notice(text=str(error)))
            hopeless = backoff.lost(work.commit, time.monotonic(), began)
            result = interrupted(job, str(error), hopeless)
        except (ExecutorFailed, OSError) as error:  # without a result, the job would count as running for ever
            words = str(error) if isinstance(error, ExecutorFailed) else FILES.format(error=error)
            self._machine_wait.begin(words, "job")
            of_machine = isinstance(error, DeviceGone | OSError)
            hopeless = backoff.harness_failed(work.commit, time.monotonic(), began, of_machine=of_machine)
            result = interrupted(job, words, hopeless)
        self._active.trainings.measured(work, result, slot.node, slot.kind)

    def _update(self, slot: Slot, work: Work, message: Started | Progress | Placed | Load) -> None:
        match message:
            case Started():
                self._active.trainings.note_processes(message)
            case Progress():
                self._live.update(slot.index, work, message, slot.node, slot.load)
            case Load():
                slot.load = message
            case Placed():
                slot.node, slot.kind = message.node, message.kind
                for note in message.notes:
                    if note not in self._active.state.notices:
                        self._active.record(ev.Notice(text=note))

    def abort(self, number: int) -> bool:
        """End the running jobs of an experiment early. Returns False if it has none."""
        slots = [slot for slot in self._slots if slot.work and slot.work.number == number]
        if not slots:
            return False
        self._active.record(ev.Aborted(number=number))
        # the reference keeps the tasks alive
        self._aborting = asyncio.gather(*(slot.executor.abort() for slot in slots))
        self._aborting.add_done_callback(lambda _: self._wake())
        return True

    async def close(self) -> bool:
        """End the running jobs and the harness processes. Returns whether there were any jobs."""
        running = [slot for slot in self._slots if slot.work is not None]
        tasks = [slot.task for slot in self._slots if slot.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(slot.executor.close() for slot in self._slots))
        return bool(running)
