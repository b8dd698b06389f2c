"""A training that belongs to a pair runs on a certain node, as long as that node is there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from core.execution.base import Placed
from core.execution.cluster import places as module
from core.execution.cluster.places import Places
from core.execution.cluster.ray_cluster import Node
from core.execution.deterministic import World
from nanochat.contract.job import Outcome
from tests.core.execution.cluster.nodes import InProcess, Machine, Slot, executors, job, places, run_folder
from tests.core.execution.cluster.test_executor import Told

WITHIN_S = 20.0


@pytest.fixture
def run(tmp_path: Path, tiny_data: Path) -> Path:
    return run_folder(tmp_path / "run", tiny_data)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)


def machine(tmp_path: Path, name: str) -> Machine:
    return Machine(name, tmp_path / f"cache-{name}", computed=World())


async def waiting(task: asyncio.Task[object]) -> bool:
    """Whether a task still waits after a moment."""
    await asyncio.wait([task], timeout=0.2)
    return not task.done()


def start_slowly(monkeypatch: pytest.MonkeyPatch, cluster: InProcess, name: str) -> asyncio.Event:
    """Let actors on a node start only after the event that is returned."""
    start, go = cluster.place, asyncio.Event()

    async def place(node: Node, device: str) -> Slot:
        if node.name == name:
            await go.wait()
        return await start(node, device)

    monkeypatch.setattr(cluster, "place", place)
    return go


async def leave(found: Places, times: int) -> None:
    for _ in range(times):
        await found.leave()


async def test_a_job_runs_on_the_node_that_it_needs(run: Path, tmp_path: Path) -> None:
    (executor,), _ = executors(run, machine(tmp_path, "first"), machine(tmp_path, "second"))
    for index, wanted in enumerate(((), ("second",), ("first",), ("first", "second"))):
        seen: list[Told] = []
        result = await executor.run(job(run, f"j{index}", gauge=False), seen.append, wanted)
        assert result.outcome is Outcome.SCORED and isinstance(seen[0], Placed)
        assert not wanted or seen[0].node in wanted
    await executor.close()


async def test_it_waits_while_the_node_is_busy_and_no_other_job_takes_its_place(run: Path, tmp_path: Path) -> None:
    found, _ = places(run, machine(tmp_path, "first"), machine(tmp_path, "second"))
    for _ in range(3):
        found.join()
    async with asyncio.timeout(WITHIN_S):
        first, second = await found.take(), await found.take()
        needs = asyncio.create_task(found.take(1, ("second",)))
        assert await waiting(needs)
        found.give(second, trained=1)
        any_other = asyncio.create_task(found.take(1))
        assert await needs is second and await waiting(any_other), "the place was kept for the job that needs it"
        found.give(first)
        assert await any_other is first
    await leave(found, 3)


async def test_a_node_that_has_left_or_starts_nothing_is_not_waited_for(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "THESE_S", 0.3)
    broken = machine(tmp_path, "second")
    found, _ = places(run, machine(tmp_path, "first"), broken)
    found.join()
    async with asyncio.timeout(WITHIN_S):
        place = await found.take(None, ("gone",))
        found.give(place)
        broken.spoil = lambda method, answer: b"no JSON"
        assert (await found.take(None, ("second",))).node.name == "first"
    await leave(found, 1)


async def test_a_node_that_is_being_started_is_waited_for(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "THESE_S", 0.1)
    found, cluster = places(run, machine(tmp_path, "first"), machine(tmp_path, "second"))
    found.join()
    go = start_slowly(monkeypatch, cluster, "second")
    async with asyncio.timeout(WITHIN_S):
        one, other = (asyncio.create_task(found.take(1, ("second",))) for _ in range(2))
        assert await waiting(one) and await waiting(other), "longer than a node that starts nothing is waited for"
        go.set()
        place = await one
        assert place.node.name == "second" and await waiting(other)
        found.give(place)
        assert await other is place
    await leave(found, 1)


async def test_a_job_that_is_starting_on_a_node_keeps_no_other_one(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, cluster = places(run, machine(tmp_path, "first"), machine(tmp_path, "second"))
    found.join()
    async with asyncio.timeout(WITHIN_S):
        first = await found.take()
        go = start_slowly(monkeypatch, cluster, "second")
        either = asyncio.create_task(found.take(1, ("first", "second")))
        assert await waiting(either)
        found.give(first)
        assert await found.take(2) is first
        go.set()
        assert (await either).node.name == "second"
    await leave(found, 1)
