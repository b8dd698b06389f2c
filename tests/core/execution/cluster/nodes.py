"""A cluster without Ray: its actors live in the process of the test, with the real code of a node and real harnesses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from core.execution.cluster.executor import RayExecutor, share
from core.execution.cluster.messages import Condition, Facts, decode, encode
from core.execution.cluster.node import NodeSlot
from core.execution.cluster.places import Places
from core.execution.cluster.ray_cluster import Node, NodeLost, NodeRefused
from core.execution.deterministic import DeterministicExecutor, World
from core.run.integrity import freeze
from nanochat.contract.job import Job
from tests.product import ROOT, TRAIN


@dataclass
class Machine:
    """A node. `kind` and `torch` stand for another processor and another version than those that it has."""

    name: str
    cache: Path
    places: int = 1
    kind: str = ""
    torch: str = ""
    free: int = 0  # bytes; 0: as there are
    cards: int = 0
    alive: bool = True
    put: int = 0  # pieces of files that were sent here
    computed: World | None = None  # scores are computed, and nothing is trained
    slots: list[NodeSlot] = field(default_factory=list)
    spoil: Callable[[str, bytes], bytes] | None = (
        None  # changes answers: method, answer -> answer. What it raises is kept
    )
    closing: list[asyncio.Task[bytes]] = field(default_factory=list)  # what was killed here

    def disguised(self, method: str, answer: bytes) -> bytes:
        """The answer with `kind` and `torch` in its facts."""
        if not (self.kind or self.torch or self.free):
            return answer
        if method == "hello":
            return encode(self._facts(decode(answer, Facts)))
        if method == "examine":
            found = decode(answer, Condition)
            return encode(replace(found, facts=self._facts(found.facts), free=self.free or found.free))
        return answer

    def _facts(self, facts: Facts) -> Facts:
        return replace(facts, kind=self.kind or facts.kind, torch=self.torch or facts.torch)


@dataclass
class InProcess:
    """A `Cluster` of these machines."""

    machines: list[Machine]
    closed: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # set when its head is gone

    async def nodes(self, device: str) -> Sequence[Node]:
        rooms = [(one, one.cards if device == "cuda" else one.places) for one in self.machines if one.alive]
        return [Node(one.name, one.name, places) for one, places in rooms if places]

    async def place(self, node: Node, device: str) -> Slot:
        machine = next(one for one in self.machines if one.name == node.id)
        world = machine.computed
        slot = (
            NodeSlot(machine.cache, lambda *_: DeterministicExecutor(world, world.seconds))
            if world
            else NodeSlot(machine.cache)
        )
        machine.slots.append(slot)
        return Slot(machine, slot)

    async def lost(self) -> str:
        await self.gone.wait()
        return "The head is gone."

    def close(self) -> None:
        self.closed = True


class Slot:
    """A `Remote` in this process."""

    def __init__(self, machine: Machine, slot: NodeSlot) -> None:
        self._machine, self._slot = machine, slot
        self._killed = asyncio.Event()

    async def call(self, method: str, *arguments: bytes, within_s: float) -> bytes:
        if self._killed.is_set() or not self._machine.alive:
            raise NodeLost(f"Node {self._machine.name} or its process has ended.")
        self._machine.put += method == "put"
        try:
            found: bytes = await asyncio.wait_for(getattr(self._slot, method)(*arguments), within_s)
        except Exception as error:
            raise NodeRefused(f"Node {self._machine.name} reports: {error}.") from error
        if not self._machine.alive:
            raise NodeLost(f"Node {self._machine.name} or its process has ended.")
        if self._machine.spoil is not None:
            found = self._machine.spoil(method, found)
        return self._machine.disguised(method, found)

    def kill(self) -> None:
        self._killed.set()
        self._machine.closing.append(asyncio.get_running_loop().create_task(self._slot.close()))


def run_folder(folder: Path, data: Path) -> Path:
    """The folder of a run with its frozen copies."""
    folder.mkdir()
    freeze(ROOT, data, folder)
    return folder


def places(run: Path, *machines: Machine) -> tuple[Places, InProcess]:
    cluster = InProcess(list(machines))
    return share(run / "harness", "run-id", "cpu", compiles=True, cluster=lambda: cluster), cluster


def executors(run: Path, *machines: Machine, slots: int = 1) -> tuple[list[RayExecutor], InProcess]:
    found, cluster = places(run, *machines)
    return [RayExecutor(found) for _ in range(slots)], cluster


def job(run: Path, name: str, budget: float = 0.4, **more: object) -> Job:
    out = run / "00001" / name
    out.mkdir(parents=True)
    (out / "train.py").write_text(TRAIN)
    fields: dict[str, object] = {
        "budget_s": budget,
        "seq_len": 32,
        "eval_tokens": 2048,
        "score_batch": 4,
        "wall_factor": 20.0,
    }
    return Job(id=name, source=str(out / "train.py"), out=str(out), data=str(run / "data"), **(fields | more))  # type: ignore[arg-type]
