"""A place where trainings run: an actor on a node, as the loop's machine sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from core.execution.base import DataUnusable, ExecutorFailed, Update
from core.execution.cluster.files import Mirror, Sources, may_leave, plain
from core.execution.cluster.messages import (
    CHUNK,
    MOST_RETURNED,
    Condition,
    Ending,
    Facts,
    Missing,
    News,
    Piece,
    Question,
    Setup,
    Training,
    Wanted,
    decode,
    encode,
)
from core.execution.cluster.ray_cluster import Node, NodeRefused, Remote
from nanochat.contract.job import Job, Result
from nanochat.contract.messages import Progress, Started

BEGIN_S = 60.0  # to start an actor
EXAMINE_S = BEGIN_S + 60.0  # to start an actor, and to try the sandbox
ANSWER_S = 30.0  # for an answer that needs no work
FILES_S = 600.0  # to verify files: a node reads all of them
CLOSE_S = 25.0  # to end a harness

T = TypeVar("T")


class Place:
    """Runs one job at a time on a node.

    Args:
        node: The node.
        remote: The actor.
    """

    def __init__(self, node: Node, remote: Remote) -> None:
        self.node, self._remote = node, remote

    async def facts(self, device: str) -> Facts:
        """Return what the node is. The first call waits until the actor lives. Raises NodeLost and NodeRefused."""
        return self._read(await self._remote.call("hello", device.encode(), within_s=BEGIN_S), Facts)

    async def condition(self, device: str) -> Condition:
        """Return what the node has for trainings. Waits until the actor lives. Raises NodeLost and NodeRefused."""
        return self._read(await self._remote.call("examine", device.encode(), within_s=EXAMINE_S), Condition)

    def _read(self, answer: bytes, kind: type[T]) -> T:
        """Decode an answer of the node. Raises NodeRefused if that is impossible."""
        try:
            return decode(answer, kind)
        except (ValueError, RecursionError) as error:
            words = " ".join(str(error).split())[:200]
            raise NodeRefused(f"Node {self.node.name} gave an answer that cannot be read ({words}).") from error

    async def open(self, setup: Setup, sources: Sources) -> None:
        """Send what the node lacks of the frozen copies, and prepare it. Raises NodeLost, NodeRefused and OSError."""
        await self._send(setup.files.values(), sources)
        await self._remote.call("open", encode(setup), within_s=FILES_S)

    async def _send(self, digests: Iterable[str], sources: Sources) -> None:
        asked = Missing(digests=tuple(dict.fromkeys(digests)))
        if not asked.digests:
            return
        lacking = self._read(await self._remote.call("missing", encode(asked), within_s=FILES_S), Missing)
        for digest in lacking.digests:
            if digest not in asked.digests:
                raise ExecutorFailed(f"Node {self.node.name} asks for a file that is not part of the run.")
            await self._send_file(digest, sources.path(digest))

    async def _send_file(self, digest: str, path: Path) -> None:
        offset, last = 0, False
        with path.open("rb") as file:
            size = file.seek(0, 2)
            while not last:
                file.seek(offset)
                data = await asyncio.to_thread(file.read, CHUNK)
                last = offset + len(data) >= size or not data
                piece = encode(Piece(digest=digest, offset=offset, last=last))
                await self._remote.call("put", piece, data, within_s=FILES_S if last else ANSWER_S)
                offset += len(data)

    async def train(self, job: Job, sources: Sources, beside: int, update: Update) -> Result:
        """Run a job, and fill its folder as an executor on this machine would.

        Args:
            job: The job, with the paths of this machine.
            sources: The files that the node may ask for.
            beside: The number of trainings that run on the node at once.
            update: Called with `Started` and `Progress`. Processes of the node are left out: their numbers mean nothing here.

        Raises:
            NodeLost: The node or the actor has ended.
            ExecutorFailed: The harness on the node failed.
            DataUnusable: The data cannot be used.
            OSError: A file of the job cannot be read.
        """
        inputs = await asyncio.to_thread(sources.of_job, job)
        await self._send(inputs.values(), sources)
        source = await asyncio.to_thread(Path(job.source).read_text, encoding="utf-8-sig")
        asked = Training(job=plain(job), source=source, inputs=inputs, beside=beside)
        await self._remote.call("begin", encode(asked), within_s=FILES_S)
        mirror = Mirror(Path(job.out))
        ending = await self._follow(mirror, update)
        if ending.unusable:
            raise DataUnusable(f"{ending.unusable} It was found on node {self.node.name}.")
        if ending.result is None:
            raise ExecutorFailed(f"On node {self.node.name}: {ending.failed}")
        self._check(job, ending.result, ending.files)
        await self._fetch(ending.files, mirror)
        return ending.result

    async def _follow(self, mirror: Mirror, update: Update) -> Ending:
        """Pass on the news of the job until it ends."""
        known = 0
        while True:
            asked = Question(after=known, sizes=mirror.sizes)
            news = self._read(await self._remote.call("news", encode(asked), within_s=ANSWER_S), News)
            known = news.number
            if news.load is not None:
                update(news.load)
            for message in news.messages:
                update(message if isinstance(message, Progress) else Started(job=message.job, pids=()))
            mirror.add(news.tails)
            if news.ending is not None:
                return news.ending

    def _check(self, job: Job, result: Result, files: dict[str, int]) -> None:
        """Raise NodeRefused if a node offers what the job may not leave."""
        wrong = [name for name in files if not may_leave(job, name)]
        if result.job != job.id:
            raise NodeRefused(f"Node {self.node.name} sent the result of another job. It was not taken.")
        if wrong or min(files.values(), default=0) < 0 or sum(files.values()) > MOST_RETURNED:
            raise NodeRefused(f"Node {self.node.name} offers files that the job may not leave. None was taken.")

    async def _fetch(self, files: dict[str, int], mirror: Mirror) -> None:
        """Fetch the files of the ended job."""
        for name, size in files.items():
            with mirror.whole(name) as whole:
                offset = 0
                while offset < size:
                    wanted = encode(Wanted(name=name, offset=offset))
                    data = await self._remote.call("fetch", wanted, within_s=ANSWER_S)
                    if not data:
                        raise ExecutorFailed(f"The file {name[:80]} on node {self.node.name} has become shorter.")
                    whole.write(data[: size - offset])
                    offset += len(data)

    async def abort(self) -> None:
        """End the running job early. Raises NodeLost and NodeRefused."""
        await self._remote.call("abort", within_s=ANSWER_S)

    async def close(self, within_s: float = CLOSE_S) -> None:
        """End the job, the harness and the actor. `within_s`: how many seconds the first two may take."""
        try:
            await self._remote.call("close", within_s=within_s)
        except ExecutorFailed:
            pass  # it ends with the actor
        finally:
            self._remote.kill()

    def kill(self) -> None:
        """End the actor at once. Its harness notices that and ends too."""
        self._remote.kill()
