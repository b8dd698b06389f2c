"""An executor whose trainings run on the nodes of a Ray cluster, each with a harness of its own there."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

from core.execution.base import ExecutorFailed, ExecutorLost, MachineLost, Placed, Update
from core.execution.cluster.files import Sources, frozen
from core.execution.cluster.messages import Setup
from core.execution.cluster.place import Place
from core.execution.cluster.places import Places
from core.execution.cluster.ray_cluster import Connect, NodeLost, NodeRefused
from core.machine.project import torch_build
from nanochat.contract.job import Job, Outcome, Result

ABORT_S = 10.0  # how long an aborted job may take to end before its actor is killed
LOST_S = 5.0  # the same when the cluster is lost: Ray ends this process soon


class RayExecutor:
    """A slot whose jobs run on a node of a cluster. The node may be another one for each job.

    Args:
        places: The places of the run, which all its slots share.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._place: Place | None = None  # of the running job
        self._told_to_end = asyncio.Event()
        places.join()

    async def run(self, job: Job, update: Update, nodes: Collection[str] = ()) -> Result:
        self._told_to_end.clear()
        work = asyncio.create_task(self._run(job, update, nodes))
        told_to_end = asyncio.create_task(self._told_to_end.wait())
        lost = asyncio.create_task(self._places.lost())
        try:
            await asyncio.wait((work, told_to_end, lost), return_when=asyncio.FIRST_COMPLETED)
            if lost.done() and not _has_result(work):  # nodes are lost with their cluster, so that comes first
                await self._ended_early(job, work, LOST_S)
                raise ExecutorLost(lost.result())
            if not work.done():
                return await self._ended_early(job, work, ABORT_S)
            return work.result()
        finally:
            for task in (work, told_to_end, lost):
                task.cancel()
            await asyncio.gather(work, told_to_end, lost, return_exceptions=True)

    async def _run(self, job: Job, update: Update, nodes: Collection[str]) -> Result:
        place = self._place = await self._places.take(job.seed, nodes)
        try:
            update(Placed(job.id, place.node.name, self._places.notes(), self._places.kind))
            result = await place.train(job, self._places.sources, self._places.beside(place), update)
        except (NodeLost, NodeRefused) as error:
            self._places.drop(place, why=str(error))
            raise MachineLost(f"{error} The experiment is run again.") from error
        except OSError as error:
            self._places.drop(place)
            raise ExecutorFailed(
                f"The files of a job cannot be read or written ({error}). All that was recorded is kept."
            ) from error
        except ExecutorFailed:
            self._places.give(place)
            raise
        except BaseException:  # also when the job is cancelled: nothing of it may go on
            self._places.drop(place)
            raise
        else:
            self._places.give(place, trained=job.seed)
            return result
        finally:
            self._place = None

    async def _ended_early(self, job: Job, work: asyncio.Task[Result], within_s: float) -> Result:
        """Return the result of a job that is told to end. If it does not end within so many seconds, its actor is killed."""
        try:
            async with asyncio.timeout(within_s):
                if self._place is not None:
                    await self._place.abort()
                    return await asyncio.shield(work)
        except (TimeoutError, ExecutorFailed):
            pass
        return Result(job=job.id, outcome=Outcome.INTERRUPTED, reason="told to end")

    async def abort(self) -> None:
        self._told_to_end.set()

    async def close(self) -> None:
        self._told_to_end.set()
        await self._places.leave()


def _has_result(work: asyncio.Task[Result]) -> bool:
    return work.done() and not work.cancelled() and work.exception() is None


def share(harness: Path, run: str, device: str, *, compiles: bool, cluster: Connect, kind: str = "") -> Places:
    """Return the places of a run on a cluster.

    Args:
        harness: The run's own copy of nanochat, in the folder of the run.
        run: The id of the run.
        device: cpu or cuda.
        compiles: Whether torch.compile works.
        cluster: Connects to the cluster.
        kind: The kind of nodes that earlier starts have used; "" if there was none.

    Raises:
        ExecutorFailed: The list of the run's copies cannot be read.
        UsageError: The cluster cannot be used.
    """
    folder = harness.parent
    files = frozen(folder)
    setup = Setup(run=run, files=files, device=device, compiles=compiles)
    return Places(cluster(), setup, Sources(folder, files), torch_build(), kind)
