"""Trainings on a real cluster: two raylets on this machine, each of which counts as a node."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.execution.base import ExecutorFailed, Placed
from core.execution.cluster.executor import RayExecutor, share
from core.execution.cluster.place import Place
from core.execution.cluster.ray_cluster import RayCluster, connect
from core.record.live import Load
from nanochat.contract.job import Outcome
from nanochat.contract.messages import Progress, Started
from tests.core.execution.cluster.nodes import job, run_folder
from tests.core.execution.cluster.test_executor import Told, harnesses, ignore, until


class Ray:
    """A cluster of two raylets, and the executors of a run on it. Its head takes no trainings. `head`: more for its head."""

    def __init__(self, run: Path, cache: Path, **head: object) -> None:
        from ray.cluster_utils import Cluster

        os.environ["AUTORESEARCH_CLUSTER"] = str(cache)  # the raylets inherit it
        self.run, self.cache = run, cache
        self.cluster: Any = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 << 20, **head},
        )
        self.nodes = {name: self.add(name) for name in ("one", "two")}
        self.executors: list[RayExecutor] = []

    def add(self, name: str, **more: object) -> Any:
        return self.cluster.add_node(num_cpus=1, node_name=name, object_store_memory=80 << 20, **more)

    def slots(self, count: int) -> list[RayExecutor]:
        def cluster() -> RayCluster:
            return connect(self.cluster.address, count, "cpu")

        self.places = share(self.run / "harness", "run-id", "cpu", compiles=True, cluster=cluster)
        self.executors = [RayExecutor(self.places) for _ in range(count)]
        return self.executors

    def end(self) -> None:
        self.cluster.shutdown()
        del os.environ["AUTORESEARCH_CLUSTER"]


@pytest.fixture
def ray(tmp_path: Path, tiny_data: Path) -> Iterator[Ray]:
    made = Ray(run_folder(tmp_path / "run", tiny_data), tmp_path / "cache")
    yield made
    made.end()


def place_of(executor: RayExecutor) -> Place:
    assert executor._place is not None
    return executor._place


async def gone(cache: Path) -> None:
    async with asyncio.timeout(60):
        while harnesses(cache):  # noqa: ASYNC110  processes of another parent
            await asyncio.sleep(0.1)


def node_of(told: list[Told]) -> str:
    return next(one.node for one in told if isinstance(one, Placed))


async def test_two_slots_train_on_two_nodes_and_leave_nothing(ray: Ray) -> None:
    slots = ray.slots(2)
    seen: list[list[Told]] = [[], []]
    jobs = [job(ray.run, name) for name in ("a", "b")]
    results = await asyncio.gather(*(slots[i].run(jobs[i], seen[i].append) for i in range(2)))
    assert [result.outcome for result in results] == [Outcome.SCORED, Outcome.SCORED], results
    assert {node_of(told) for told in seen} == {"one", "two"}
    assert {type(one) for one in seen[0]} == {Placed, Started, Progress, Load}
    assert sorted(path.name for path in (ray.run / "00001" / "a").iterdir()) == [
        "metrics.jsonl",
        "nats.npy",
        "train.py",
    ]
    assert results[0].speed is not None and results[1].speed is not None
    await asyncio.gather(*(slot.close() for slot in slots))
    await gone(ray.cache)


async def test_an_abort_ends_a_job_and_the_slot_goes_on(ray: Ray) -> None:
    (executor,) = ray.slots(1)
    seen: list[Told] = []
    running = asyncio.create_task(executor.run(job(ray.run, "long", 60.0), seen.append))
    await until(seen, "training")
    async with asyncio.timeout(15):
        await executor.abort()
        assert (await running).outcome is Outcome.INTERRUPTED
    assert (await executor.run(job(ray.run, "next"), ignore)).outcome is Outcome.SCORED
    await executor.close()
    await gone(ray.cache)


async def test_a_worker_that_is_killed_takes_its_harness_with_it_and_the_next_job_runs(ray: Ray) -> None:
    (executor,) = ray.slots(1)
    seen: list[Told] = []
    running = asyncio.create_task(executor.run(job(ray.run, "long", 60.0), seen.append))
    await until(seen, "training")
    left = harnesses(ray.cache)
    assert left
    os.kill((await place_of(executor).facts("cpu")).pid, signal.SIGKILL)
    with pytest.raises(ExecutorFailed, match=r"has ended.* run again"):
        await running
    _, alive = await asyncio.to_thread(psutil.wait_procs, left, 60)
    assert not alive
    assert (await executor.run(job(ray.run, "next"), ignore)).outcome is Outcome.SCORED
    await executor.close()
    await gone(ray.cache)


@pytest.mark.parametrize("graceful", [True, False])
async def test_a_node_that_leaves_during_a_training_is_lost_and_the_other_goes_on(ray: Ray, graceful: bool) -> None:
    (executor,) = ray.slots(1)
    seen: list[Told] = []
    running = asyncio.create_task(executor.run(job(ray.run, "long", 60.0), seen.append))
    await until(seen, "training")
    left, first = harnesses(ray.cache), node_of(seen)
    await asyncio.to_thread(ray.cluster.remove_node, ray.nodes[first], allow_graceful=graceful)
    with pytest.raises(ExecutorFailed, match="run again"):
        async with asyncio.timeout(90):
            await running
    _, alive = await asyncio.to_thread(psutil.wait_procs, left, 60)
    assert not alive
    seen.clear()
    assert (await executor.run(job(ray.run, "next"), seen.append)).outcome is Outcome.SCORED
    assert node_of(seen) != first
    await executor.close()
    await gone(ray.cache)


async def test_a_node_that_joins_takes_what_waits(ray: Ray) -> None:
    slots = ray.slots(3)
    seen: list[Told] = []
    running = [
        asyncio.create_task(slot.run(job(ray.run, f"long{i}", 60.0), seen.append)) for i, slot in enumerate(slots)
    ]
    async with asyncio.timeout(120):
        while sum(isinstance(one, Placed) for one in seen) < 2:  # noqa: ASYNC110  a plain callback fills it
            await asyncio.sleep(0.1)
    ray.add("three")
    async with asyncio.timeout(120):
        while sum(isinstance(one, Placed) for one in seen) < 3:  # noqa: ASYNC110  a plain callback fills it
            await asyncio.sleep(0.1)
    assert {one.node for one in seen if isinstance(one, Placed)} == {"one", "two", "three"}
    for slot in slots:
        await slot.abort()
    assert {result.outcome for result in await asyncio.gather(*running)} == {Outcome.INTERRUPTED}
    await asyncio.gather(*(slot.close() for slot in slots))
    await gone(ray.cache)
