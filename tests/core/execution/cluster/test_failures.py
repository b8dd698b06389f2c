"""What a node or the network does wrong costs a training at most, never a place or the run."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from core.execution.base import ExecutorFailed, Placed
from core.execution.cluster.executor import RayExecutor, share
from core.execution.cluster.messages import News, decode, encode
from core.execution.cluster.ray_cluster import ALONE, SETTINGS, NodeLost, RayRemote, connect
from core.execution.deterministic import World
from core.machine.project import UsageError
from nanochat.contract.job import Outcome
from tests.core.execution.cluster.nodes import InProcess, Machine, executors, job, places, run_folder
from tests.core.execution.cluster.test_executor import Told, ignore

QUICK = World()
WITHIN_S = 30.0  # a place that is never free again makes a job wait for ever


@pytest.fixture
def run(tmp_path: Path, tiny_data: Path) -> Path:
    return run_folder(tmp_path / "run", tiny_data)


def machine(tmp_path: Path, name: str = "a", **more: object) -> Machine:
    return Machine(name, tmp_path / f"cache-{name}", computed=QUICK, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [ConnectionError("Client is shutting down."), ValueError("?"), RuntimeError("?")])
async def test_every_error_of_the_transport_is_a_lost_node(error: Exception) -> None:
    future: Future[bytes] = Future()
    future.set_exception(error)
    handle = SimpleNamespace(call=SimpleNamespace(remote=lambda *_: SimpleNamespace(future=lambda: future)))
    with pytest.raises(NodeLost, match=f"Node a .*{type(error).__name__}"):
        await RayRemote(handle, "a", lambda _: None).call("news", within_s=1.0)


class RayTaskError(Exception):
    """As Ray's: what a task raised is in `cause`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("a traceback")
        self.cause = cause


class ObjectStoreFullError(Exception):
    """As Ray's."""


class OutOfDiskError(Exception):
    """As Ray's."""


class OutOfMemoryError(Exception):
    """As Ray's."""


def told_by(error: Exception) -> RayRemote:
    """An actor each of whose answers is this error."""
    future: Future[bytes] = Future()
    future.set_exception(error)
    return RayRemote(
        SimpleNamespace(call=SimpleNamespace(remote=lambda *_: SimpleNamespace(future=lambda: future))),
        "a",
        lambda _: None,
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ObjectStoreFullError("full"), "Node a has no room in Ray's object store"),
        (RayTaskError(ObjectStoreFullError("full")), "Node a has no room in Ray's object store"),
        (OutOfDiskError("full"), "Node a has a full disk"),
        (OutOfMemoryError("killed"), "Node a ran out of memory, and Ray ended the process"),
        (RayTaskError(ValueError("?")), r"Node a or its process has ended \(RayTaskError\)"),
    ],
)
async def test_what_a_node_lacks_has_a_sentence_of_its_own(error: Exception, words: str) -> None:
    with pytest.raises(NodeLost, match=words):
        await told_by(error).call("news", within_s=1.0)


@pytest.mark.parametrize("size", [0, 1 << 20])
async def test_a_full_store_on_this_machine_is_no_fault_of_the_node(size: int) -> None:
    """A large argument is stored in a thread, since that waits for room."""

    def put(method: str, *arguments: bytes) -> None:
        threads.append(threading.current_thread())
        raise ObjectStoreFullError("full")

    threads: list[threading.Thread] = []
    remote = RayRemote(SimpleNamespace(call=SimpleNamespace(remote=put)), "a", lambda _: None)
    with pytest.raises(ExecutorFailed, match="This machine has no room in Ray's object store") as raised:
        await remote.call("put", bytes(size), within_s=5.0)
    assert not isinstance(raised.value, NodeLost)
    assert (threads[0] is threading.main_thread()) == (size == 0)


async def test_a_store_that_takes_too_long_is_a_lost_node_and_the_loop_goes_on() -> None:
    release = threading.Event()
    remote = RayRemote(SimpleNamespace(call=SimpleNamespace(remote=lambda *_: release.wait(60))), "a", lambda _: None)
    try:
        with pytest.raises(NodeLost, match="did not answer within 0 s"):
            await remote.call("put", bytes(1 << 20), within_s=0.1)
    finally:
        release.set()


@pytest.mark.parametrize("method", ["hello", "missing", "news"])
async def test_an_answer_that_cannot_be_read_costs_one_training(run: Path, tmp_path: Path, method: str) -> None:
    node, bad = machine(tmp_path), {method}

    def spoil(asked: str, answer: bytes) -> bytes:
        if asked not in bad:
            return answer
        bad.clear()
        return b"no JSON"

    node.spoil = spoil
    (executor,), _ = executors(run, node)
    async with asyncio.timeout(WITHIN_S):
        if method == "news":
            with pytest.raises(ExecutorFailed, match=r"answer that cannot be read.* run again"):
                await executor.run(job(run, "one", gauge=False), ignore)
        seen: list[Told] = []
        assert (await executor.run(job(run, "two", gauge=False), seen.append)).outcome is Outcome.SCORED
        notes = [words for told in seen if isinstance(told, Placed) for words in told.notes]
        assert method == "news" or "cannot be read" in notes[0]
        await executor.close()


async def test_an_idle_place_with_such_an_answer_is_not_waited_for(run: Path, tmp_path: Path) -> None:
    first, second = machine(tmp_path, "a"), machine(tmp_path, "b")
    (executor,), _ = executors(run, first, second)
    assert (await executor.run(job(run, "one", gauge=False), ignore)).outcome is Outcome.SCORED
    first.spoil = lambda method, answer: b"{}"
    seen: list[Told] = []
    async with asyncio.timeout(WITHIN_S):
        assert (await executor.run(job(run, "two", gauge=False), seen.append)).outcome is Outcome.SCORED
    assert isinstance(seen[0], Placed) and seen[0].node == "b"
    await executor.close()


async def test_a_file_of_this_machine_that_cannot_be_read_frees_the_place(run: Path, tmp_path: Path) -> None:
    (executor,), _ = executors(run, machine(tmp_path))
    copy = run / "harness" / "nanochat" / "harness" / "scorer.py"
    text = copy.read_bytes()
    copy.unlink()
    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(ExecutorFailed, match=r"run's files cannot be read .*scorer\.py"):
            await executor.run(job(run, "one", gauge=False), ignore)
        copy.write_bytes(text)
        with pytest.raises(ExecutorFailed, match=r"files of a job cannot be read .*gone\.npy"):
            await executor.run(job(run, "two", gauge=False, reference=str(run / "gone.npy")), ignore)
        assert (await executor.run(job(run, "three", gauge=False), ignore)).outcome is Outcome.SCORED
    await executor.close()


@pytest.mark.parametrize("files", [{"train.py": 3}, {"nats.npy": -1}, {}])
async def test_a_result_of_another_job_or_with_other_files_is_not_taken(
    run: Path, tmp_path: Path, files: dict[str, int]
) -> None:
    def spoil(method: str, answer: bytes) -> bytes:
        news = decode(answer, News) if method == "news" else None
        if news is None or news.ending is None or news.ending.result is None:
            return answer
        result = news.ending.result if files else replace(news.ending.result, job="another")
        return encode(replace(news, ending=replace(news.ending, result=result, files=files)))

    (executor,), _ = executors(run, machine(tmp_path, spoil=spoil))
    one = job(run, "one", gauge=False)
    with pytest.raises(ExecutorFailed, match=r"may not leave|another job"):
        await executor.run(one, ignore)
    await executor.close()


# -- nodes that cannot start ------------------------------------------------------------------------------------------


async def test_the_reason_why_no_node_can_start_is_reported_and_ends_the_wait(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two slots too, each of which tries the node."""
    monkeypatch.setattr("core.execution.cluster.places.NO_PLACE_S", 3.0)

    def full(method: str, answer: bytes) -> bytes:
        raise NodeLost("Node a reports: No space left on device.")

    slots, _ = executors(run, machine(tmp_path, spoil=full, places=2), slots=2)
    async with asyncio.timeout(WITHIN_S):
        ended = await asyncio.gather(
            *(slot.run(job(run, f"j{i}"), ignore) for i, slot in enumerate(slots)), return_exceptions=True
        )
    assert [type(error) for error in ended] == [ExecutorFailed, ExecutorFailed]
    assert all("can be used. Node a reports: No space left on device." in str(error) for error in ended)
    await asyncio.gather(*(slot.close() for slot in slots))


async def test_a_node_that_failed_is_not_tried_again_at_once(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.execution.cluster.places.NO_PLACE_S", 5.0)
    monkeypatch.setattr("core.execution.cluster.places.LOOK_S", 0.02)
    monkeypatch.setattr("core.execution.cluster.failures.WAITS_S", (1.0, 60.0))

    def full(method: str, answer: bytes) -> bytes:
        raise NodeLost("Node a reports: No space left on device.")

    node = machine(tmp_path, spoil=full)
    (executor,), _ = executors(run, node)
    with pytest.raises(ExecutorFailed, match="No space left"):
        await executor.run(job(run, "one"), ignore)
    assert 2 <= len(node.slots) <= 4  # after 1, 2 and 4 s
    await executor.close()


# -- connecting -------------------------------------------------------------------------------------------------------


class NoToken(Exception):
    """As Ray's AuthenticationError: neither an OSError nor a RuntimeError."""


@pytest.mark.parametrize("address", ["", "10.0.0.1:6379"])
def test_whatever_ray_raises_is_a_sentence_and_a_cluster_here_is_never_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    def init(**options: object) -> None:
        assert address or options["include_dashboard"] is False
        raise NoToken("Token authentication is enabled but no token was found.")

    for name in (*SETTINGS, *ALONE, "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "disabled" if name == "RAY_AUTH_MODE" else "mine")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("core.execution.cluster.ray_cluster.LONGEST", 1000)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"no token was found\. What was recorded is kept"):
        connect(address, 1, "cpu")
    assert not list(tmp_path.iterdir())
    assert (os.environ["RAY_AUTH_MODE"] == "token") == (address == "")
    assert (os.environ["RAY_AUTH_TOKEN"] == "mine") == (address != "")


async def test_the_first_training_on_a_node_has_the_same_share_of_memory_as_the_next(run: Path, tmp_path: Path) -> None:
    found, _ = places(run, machine(tmp_path, places=64))
    for _ in range(2):
        found.join()
    first = await found.take()
    assert found.beside(first) == 2
    assert found.beside(await found.take()) == 2
    for _ in range(2):
        await found.leave()


async def test_a_pair_is_trained_on_one_node_if_both_are_free(run: Path, tmp_path: Path) -> None:
    found, _ = places(run, machine(tmp_path, "first"), machine(tmp_path, "second"))
    for _ in range(2):
        found.join()
    both = [await found.take(seed) for seed in (1, 2)]
    for order in (both, both[::-1]):
        for place in order:
            found.give(place, trained=1 if place is both[0] else 2)
        assert (one := await found.take(1)) is both[0]
        assert (two := await found.take(2)) is both[1]
        assert [one, two] == both
    for _ in range(2):
        await found.leave()


async def test_a_run_that_goes_on_uses_nodes_of_its_kind_only(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.execution.cluster.places.NO_PLACE_S", 0.5)
    cluster = InProcess([machine(tmp_path, kind="H100")])
    for kind in ("", "H100"):
        executor = RayExecutor(share(run / "harness", "r", "cpu", compiles=True, cluster=lambda: cluster, kind=kind))
        seen: list[Told] = []
        await executor.run(job(run, f"of-{kind}", gauge=False), seen.append)
        assert isinstance(seen[0], Placed) and seen[0].kind == "H100"
        await executor.close()
    executor = RayExecutor(share(run / "harness", "r", "cpu", compiles=True, cluster=lambda: cluster, kind="A100"))
    with pytest.raises(ExecutorFailed, match="has H100, and this run's trainings use A100"):
        await executor.run(job(run, "other", gauge=False), ignore)
    await executor.close()
