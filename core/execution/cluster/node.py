"""A slot on a node of the cluster: the harness, its data, and the files of its job. Runs in the actor; imports nothing of Ray.

Every method takes and returns bytes: messages of messages.py, or bytes of a file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from core.execution.base import DataUnusable, Executor, Placed
from core.execution.cluster.condition import condition
from core.execution.cluster.content import BadContent, Store, relative, used
from core.execution.cluster.load import LoadMeter
from core.execution.cluster.messages import (
    CHUNK,
    COMPILED,
    GROWING,
    MOST_GROWING,
    MOST_RETURNED,
    NATS,
    TAIL,
    WEIGHTS,
    Ending,
    Facts,
    Missing,
    News,
    Piece,
    Question,
    Setup,
    Tail,
    Training,
    Wanted,
    decode,
    encode,
)
from core.execution.cluster.reference import References
from core.execution.cluster.work import WorkFolder
from core.execution.local import LocalExecutor
from core.machine import stats
from core.machine.file_hashes import UnchangedFiles
from core.machine.limits import RAM_SHARE
from core.record.live import Load
from nanochat.contract.job import Job, Outcome
from nanochat.contract.messages import Progress, Started

HARNESS, DATA, SOURCE, LOG = "harness", "data", "train.py", "harness.log"
LOAD_S = 2.0  # how long a reading of the load may take
NEWS_S = 1.0  # how long a question for news waits
SILENT_S = 120.0  # without a question for so long, the loop is taken to be gone


@dataclass
class _Run:
    """The running or ended job of a slot, and what was not told yet."""

    job: Job
    out: Path
    task: asyncio.Task[None] | None = None
    number: int = 0
    latest: dict[type, tuple[int, Started | Progress]] = field(default_factory=dict)
    ending: Ending | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    asked: float = field(default_factory=time.monotonic)

    def tell(self, message: Started | Progress | Placed | Load) -> None:
        """Keep a message until it is asked for, in place of an older one of its kind. Only trainers' own messages."""
        if isinstance(message, Placed | Load):
            return
        self.number += 1
        self.latest[type(message)] = self.number, message
        self.changed.set()


Make = Callable[[Setup, Path, Path], Executor]


def _local(setup: Setup, tree: Path, log: Path) -> Executor:
    """Return an executor with a harness on this node. Ray shows it the GPU of its slot only."""
    gpu = 0 if setup.device == "cuda" else None
    return LocalExecutor(tree / HARNESS, setup.device, log, gpu, compiles=setup.compiles)


class NodeSlot:
    """Runs the trainings of one slot on this node, one after another.

    Args:
        cache: The cache folder of the node, which other slots and runs share.
        make: Makes the executor of the slot, from the setup, the folder with the frozen copies, and the file for its log.
    """

    def __init__(self, cache: Path, make: Make = _local) -> None:
        self._cache, self._make = cache, make
        self._store = Store(cache)
        self._meter: LoadMeter | None = None
        self._setup: Setup | None = None
        self._tree = Path()
        self._frozen: UnchangedFiles | None = None
        self._executor: Executor | None = None
        self._work: WorkFolder | None = None
        self._run: _Run | None = None

    async def hello(self, raw: bytes) -> bytes:
        """Return the facts about this node. `raw` is the device."""
        return encode(await asyncio.to_thread(_facts, raw.decode()))

    async def examine(self, raw: bytes) -> bytes:
        """Return what this node has for trainings. `raw` is the device."""
        device = raw.decode()
        facts = await asyncio.to_thread(_facts, device)
        return encode(await asyncio.to_thread(condition, facts, self._cache, device))

    async def missing(self, raw: bytes) -> bytes:
        """Return which of these files the node lacks. Those that it has are verified."""
        asked = decode(raw, Missing).digests
        lacking = await asyncio.to_thread(lambda: tuple(one for one in asked if not self._store.has(one)))
        return encode(Missing(digests=lacking))

    async def put(self, raw: bytes, data: bytes) -> bytes:
        """Take a piece of a file."""
        piece = decode(raw, Piece)
        await asyncio.to_thread(self._store.put, piece.digest, piece.offset, data, last=piece.last)
        return b""

    async def open(self, raw: bytes) -> bytes:
        """Prepare for the trainings of a run: its frozen copies, verified, and a folder to work in."""
        setup = self._setup = decode(raw, Setup)
        self._tree = await asyncio.to_thread(self._store.tree, setup.files)
        self._frozen = UnchangedFiles({self._tree / name: digest for name, digest in setup.files.items()})
        await self._check()
        await asyncio.to_thread(self._store.clean)
        self._work = await asyncio.to_thread(WorkFolder, self._cache)
        self._executor = self._make(setup, self._tree, self._work.path / LOG)
        return b""

    async def _check(self) -> None:
        """Raise BadContent if a frozen copy has changed. They are made again for the next slot."""
        assert self._frozen is not None
        try:
            altered = await asyncio.to_thread(self._frozen.altered)
        except OSError as error:
            self._store.remove_tree(self._tree)
            raise BadContent(f"the copy {error.filename} cannot be read ({error.strerror})") from error
        if altered is not None:
            self._store.remove_tree(self._tree)
            raise BadContent(f"the copy {altered} was altered")

    # -- a job ----------------------------------------------------------------------------------------------------

    async def begin(self, raw: bytes) -> bytes:
        """Start a job."""
        assert self._setup is not None and self._work is not None
        asked = decode(raw, Training)
        await self._end()
        await self._check()
        used(self._tree)
        out = self._work.fresh("job")
        (out / SOURCE).write_text(asked.source, encoding="utf-8")
        inputs = self._work.fresh("inputs")
        await asyncio.to_thread(self._store.place, asked.inputs, inputs)
        job = replace(
            asked.job,
            source=str(out / SOURCE),
            out=str(out),
            data=str(self._tree / DATA),
            reference=str(inputs / asked.job.reference) if asked.job.reference else None,
            compiled=str(inputs / COMPILED) if asked.job.compiled else None,
            memory_limit=_memory_limit(asked.job.memory_limit, asked.beside),
        )
        self._run = _Run(job, out)
        self._run.task = asyncio.create_task(self._train(self._run))
        self._watching = asyncio.create_task(self._watch(self._run))
        return b""

    async def _train(self, run: _Run) -> None:
        assert self._executor is not None and self._setup is not None
        ending: Ending
        try:
            references = References(self._cache, self._setup.run)
            job = replace(run.job, reference_s=references.read())  # its own, not that of another machine
            result = await self._executor.run(job, run.tell)
            if result.speed is not None and result.outcome is Outcome.SCORED and job.reference_s is None:
                references.keep(result.speed.reference_s)
            await self._check()
            files = await asyncio.to_thread(_files, run.out, nats=job.reference is None and job.split == "val")
            ending = Ending(result=result, files=files)
        except DataUnusable as error:
            ending = Ending(unusable=str(error))
        except Exception as error:  # the loop must hear of every failure
            ending = Ending(failed=str(error) or repr(error))
        run.ending = ending
        run.changed.set()

    async def _watch(self, run: _Run) -> None:
        """End a job whose loop is gone, since its result would be lost."""
        while run.ending is None:
            if time.monotonic() - run.asked > SILENT_S:
                await self.abort()
            await asyncio.sleep(SILENT_S / 10)

    async def news(self, raw: bytes) -> bytes:
        """Return what is new about the job. Waits a little if there is nothing."""
        asked, run = decode(raw, Question), self._run
        assert run is not None
        run.asked = time.monotonic()
        if run.number <= asked.after and run.ending is None:
            run.changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(run.changed.wait(), NEWS_S)
        messages = sorted(item for item in run.latest.values() if item[0] > asked.after)
        ending = run.ending  # before the tails, so that nothing is written after they were read
        tails = {name: tail for name in GROWING if (tail := _tail(run.out / name, asked.sizes.get(name, 0)))}
        item = tuple(one for _, one in messages)
        return encode(News(number=run.number, messages=item, tails=tails, ending=ending, load=await self._load()))

    async def _load(self) -> Load | None:
        """Return how busy this node is. None if that was told lately, or if the driver of the card takes long."""
        assert self._setup is not None
        meter = self._meter = self._meter or LoadMeter(self._setup.device)
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.to_thread(meter.read), LOAD_S)
        return None

    async def fetch(self, raw: bytes) -> bytes:
        """Return bytes of a file of the ended job."""
        asked, run = decode(raw, Wanted), self._run
        assert run is not None and run.ending is not None
        if asked.name not in run.ending.files:
            raise BadContent(f"the job has no file {asked.name[:80]!r}")
        with (run.out / relative(asked.name)).open("rb") as file:
            file.seek(asked.offset)
            return file.read(CHUNK)

    async def abort(self) -> bytes:
        """End the running job early."""
        if self._executor is not None and self._run is not None and self._run.ending is None:
            await self._executor.abort()
        return b""

    async def _end(self) -> None:
        """End a job that is left."""
        if self._run is not None and self._run.task is not None and not self._run.task.done():
            await self.abort()
            await self._run.task

    async def close(self) -> bytes:
        """End the job and the harness, and remove the folder."""
        if self._executor is not None:
            await self._executor.close()
        if self._work is not None:
            self._work.remove()
        return b""


def _facts(device: str) -> Facts:
    """Return this node: its card for a GPU training, or its processor. How many cores there are does not matter for one training."""
    from core.machine.project import torch_build  # imported late, since it needs more of the package

    kind = (device == "cpu" and stats.processor()) or stats.described(device)[0]
    return Facts(kind=kind, torch=torch_build(), pid=os.getpid())


def _memory_limit(wanted: int | None, beside: int) -> int:
    """Return the memory limit of a trainer: that of the loop's machine, or this node's share if that is smaller."""
    share = int(stats.memory_total() * RAM_SHARE / max(1, beside))
    return share if wanted is None else min(wanted, share)


def _tail(path: Path, known: int) -> Tail | None:
    """Return the new bytes of a file. A file that has become shorter was rewritten and is sent from its beginning."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = 0 if size < known else known
            file.seek(start)
            data = file.read(min(TAIL, max(0, MOST_GROWING - start)))
    except OSError:
        return None
    return Tail(start=start, data=data) if data else None


def _files(out: Path, *, nats: bool) -> dict[str, int]:
    """Return the files of an ended job that the loop takes, with their sizes. Links are left out.

    `nats`: whether the scores of the tokens are wanted, which only the baseline's are.
    """
    names = [*GROWING, WEIGHTS, *([NATS] if nats else [])]
    paths = [out / name for name in names] + sorted((out / COMPILED).rglob("*"))
    sizes: dict[str, int] = {}
    for path in paths:
        if path.is_file() and not path.is_symlink():
            size = path.stat().st_size
            if (path.name not in GROWING or size <= MOST_GROWING) and sum(sizes.values()) + size <= MOST_RETURNED:
                sizes[path.relative_to(out).as_posix()] = size
    return sizes
