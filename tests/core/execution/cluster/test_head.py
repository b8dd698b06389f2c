"""A head that does not answer ends the run with a sentence; a short absence does not. The head is a socket on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from core.errors import explained
from core.execution.base import ExecutorFailed, ExecutorLost, Placed
from core.execution.cluster import daemon_threads, head
from core.execution.cluster.head import HeadWatch
from core.execution.deterministic import World
from nanochat.contract.job import Outcome
from tests.core.execution.cluster.nodes import Machine, executors, job, run_folder
from tests.core.execution.cluster.test_executor import Told, ignore, until

HOST = "127.0.0.1"
ENDLESS = World(seconds=600.0)


class Head:
    """A server that accepts connections and says nothing, as the head of a cluster does to a stranger."""

    def __init__(self) -> None:
        self.port = 0
        self.asked = 0  # connections
        self.belongs: list[bool | None] = []  # its answers, the last one again and again
        self.questions = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.asked += 1
            writer.close()

        self._server = await asyncio.start_server(accept, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def answer(self) -> bool | None:
        self.questions += 1
        return self.belongs.pop(0) if len(self.belongs) > 1 else self.belongs[0]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "EVERY_S", 0.02)


@pytest.fixture
async def server() -> AsyncIterator[Head]:
    made = Head()
    await made.start()
    yield made
    await made.stop()


@contextlib.contextmanager
def watching(server: Head, *, local: bool = False) -> Iterator[tuple[HeadWatch, asyncio.Task[str]]]:
    """A watch that has begun, and what waits for its end."""
    watch = HeadWatch(HOST, server.port, server.answer, local=local)
    waiting = asyncio.create_task(watch.lost())
    try:
        yield watch, waiting
    finally:
        waiting.cancel()
        watch.stop()


async def reached(holds: Callable[[], object]) -> None:
    """Wait until something holds. The limit is only there for what never comes."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110  plain figures of the server
            await asyncio.sleep(0.01)


async def test_a_head_that_answers_is_asked_nothing_and_never_lost(
    server: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "GONE_S", 0.0)
    with watching(server) as (watch, waiting):
        await reached(lambda: server.asked >= 5)
        assert not waiting.done() and not watch.gone and not server.questions


@pytest.mark.parametrize(
    ("local", "cluster", "next_step"),
    [(False, "at 127.0.0.1:", "Start Ray again on the first machine"), (True, "on this machine", "`make run` starts Ray again")],
)  # fmt: skip
async def test_a_head_that_does_not_answer_is_lost_after_a_while(
    server: Head, monkeypatch: pytest.MonkeyPatch, local: bool, cluster: str, next_step: str
) -> None:
    monkeypatch.setattr(head, "GONE_S", 1.0)
    with watching(server, local=local) as (watch, waiting):
        await reached(lambda: server.asked)
        await server.stop()
        stopped = time.monotonic()
        async with asyncio.timeout(30):
            told = await waiting
        assert time.monotonic() - stopped >= 0.9 and watch.gone
        assert cluster in told and "has not answered for 1 s" in told and next_step in told
        assert "All that was recorded is kept" in told
        assert await watch.lost() == told, "who asks later hears the same"


async def test_a_head_that_comes_back_and_knows_this_process_ends_nothing(
    server: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked until it knows, and then no more."""
    monkeypatch.setattr(head, "GONE_S", 60.0)
    server.belongs = [None, None, True]
    with watching(server) as (watch, waiting):
        await reached(lambda: server.asked)
        await server.stop()
        await reached(lambda: watch._doubted is not None)
        await server.start()
        await reached(lambda: watch._doubted is None)
        assert server.questions == 3 and not waiting.done()
        before = server.asked
        await reached(lambda: server.asked >= before + 3)
        assert server.questions == 3 and not watch.gone


async def test_a_head_of_a_new_cluster_is_noticed_at_once(server: Head, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "GONE_S", 600.0)
    server.belongs = [False]
    with watching(server) as (watch, waiting):
        await reached(lambda: server.asked)
        await server.stop()
        await reached(lambda: watch._doubted is not None)
        await server.start()
        async with asyncio.timeout(30):
            assert "was started anew" in await waiting


async def test_doubt_makes_it_ask_although_the_head_answers(server: Head) -> None:
    server.belongs = [False]
    with watching(server) as (watch, waiting):
        await reached(lambda: server.asked)
        watch.doubt()
        async with asyncio.timeout(30):
            assert "was started anew" in await waiting


async def test_a_head_that_never_says_whether_this_process_belongs_to_it_is_lost(
    server: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "GONE_S", 0.3)

    async def fails() -> bool | None:
        server.questions += 1
        raise ValueError("no such cluster")

    monkeypatch.setattr(server, "answer", fails)
    with watching(server) as (watch, waiting):
        watch.doubt()
        async with asyncio.timeout(30):
            assert "answers, but this run cannot join it again" in await waiting
        assert server.questions > 1


# -- what a run does then -----------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, tiny_data: Path) -> Path:
    return run_folder(tmp_path / "run", tiny_data)


async def test_when_the_head_is_gone_a_training_ends_and_the_executor_says_so(run: Path, tmp_path: Path) -> None:
    node = Machine("a", tmp_path / "cache", computed=ENDLESS)
    (executor,), cluster = executors(run, node)
    seen: list[Told] = []
    running = asyncio.create_task(executor.run(job(run, "long", gauge=False), seen.append))
    await until(seen, "training")
    cluster.gone.set()
    async with asyncio.timeout(30):
        with pytest.raises(ExecutorLost, match="The head is gone") as raised:
            await running
        assert not isinstance(raised.value, ExecutorFailed), "it would be tried again"
        assert explained(raised.value) == "The head is gone."
        (slot,) = node.slots
        assert slot._run is not None and slot._run.ending is not None, "the node has ended the training"
        ended = slot._run.ending.result
        assert ended is not None and ended.outcome is Outcome.INTERRUPTED
        with pytest.raises(ExecutorLost):
            await executor.run(job(run, "next", gauge=False), ignore)
        await executor.close()
    assert cluster.closed


async def test_a_node_that_is_lost_with_the_head_does_not_hide_that(run: Path, tmp_path: Path) -> None:
    node = Machine("a", tmp_path / "cache", computed=ENDLESS)
    (executor,), cluster = executors(run, node)
    seen: list[Told] = []
    running = asyncio.create_task(executor.run(job(run, "long", gauge=False), seen.append))
    await until(seen, "training")
    node.alive = False
    cluster.gone.set()
    async with asyncio.timeout(30):
        with pytest.raises(ExecutorLost):
            await running
        await executor.close()


async def test_a_job_that_waits_for_a_place_ends_too(run: Path, tmp_path: Path) -> None:
    slots, cluster = executors(run, Machine("a", tmp_path / "cache", computed=ENDLESS), slots=2)
    seen: list[Told] = []
    running = [
        asyncio.create_task(slot.run(job(run, f"j{i}", gauge=False), seen.append)) for i, slot in enumerate(slots)
    ]
    await until(seen, "training")
    cluster.gone.set()
    async with asyncio.timeout(30):
        ended = await asyncio.gather(*running, return_exceptions=True)
        assert [type(error) for error in ended] == [ExecutorLost, ExecutorLost]
        assert sum(isinstance(told, Placed) for told in seen) == 1
        await asyncio.gather(*(slot.close() for slot in slots))
    assert cluster.closed


# -- aside.py -----------------------------------------------------------------------------------------------------------


async def test_what_is_called_aside_returns_raises_and_may_be_left_alone() -> None:
    assert await daemon_threads.call(lambda: threading.current_thread() is threading.main_thread()) is False
    with pytest.raises(ZeroDivisionError):
        await daemon_threads.call(lambda: 1 // 0)
    release, ended = threading.Event(), threading.Event()

    def hang() -> None:
        release.wait(60)
        ended.set()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(daemon_threads.call(hang), 0.05)
    assert not ended.is_set()
    release.set()
    assert await asyncio.to_thread(ended.wait, 30)


def test_a_program_ends_although_a_call_aside_never_does() -> None:
    code = (
        "import asyncio, threading\n"
        "from core.execution.cluster import daemon_threads\n"
        "async def main():\n"
        "    try:\n"
        "        await asyncio.wait_for(daemon_threads.call(threading.Event().wait), 0.05)\n"
        "    except TimeoutError:\n"
        "        print('left')\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[4]
    )
    assert done.returncode == 0 and done.stdout == "left\n"
