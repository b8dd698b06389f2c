"""The places of a run on its cluster. Slots take one for each job, so that a run with fewer nodes than before goes on."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from core.execution.base import ExecutorFailed
from core.execution.cluster.failures import Failures
from core.execution.cluster.files import Sources
from core.execution.cluster.messages import Facts, Setup
from core.execution.cluster.place import CLOSE_S, Place
from core.execution.cluster.ray_cluster import Cluster, Node, NodeLost

NO_PLACE_S = 60.0  # how long a job waits when no node is left
THESE_S = 30.0  # how long a job waits for the nodes that it should run on while none of them runs anything
LOOK_S = 1.0  # how often it looks for one
LOST_S = 5.0  # how long a place may take to close when the cluster is lost


class Places:
    """Starts actors on nodes, and gives each to one job at a time.

    All nodes of a run are of one kind, that of the first: others would give scores that cannot be compared.

    Args:
        cluster: The cluster. It is closed when the last executor has left.
        setup: What the nodes must prepare.
        sources: The files that they may ask for.
        torch: The version of PyTorch on this machine.
        kind: The kind of nodes that earlier starts have used; "" if there was none. The first node then decides.
    """

    def __init__(self, cluster: Cluster, setup: Setup, sources: Sources, torch: str, kind: str = "") -> None:
        self._cluster, self._setup, self._torch = cluster, setup, torch
        self.sources = sources
        self._executors = 0
        self._idle: list[Place] = []
        self._busy: list[Place] = []
        self._starting: Counter[str] = Counter()  # id of a node -> actors that are being started there
        self._failures = Failures()
        self._refused: dict[str, str] = {}  # id of a node -> why it is not used, as a sentence
        self._sending: dict[str, asyncio.Lock] = {}  # so that files are sent to a node once
        self._trained: dict[int, str] = {}  # seed -> id of the node where it was trained last
        self.kind = kind
        self._waited = False  # whether the user knows that there are fewer places than slots
        self._notes: list[str] = []
        self._close_s = CLOSE_S
        self._awaited: dict[object, Collection[str]] = {}  # job that asks for a place -> nodes that it needs

    def join(self) -> None:
        """Count an executor that uses the places."""
        self._executors += 1

    def notes(self) -> tuple[str, ...]:
        """Return what the user should know and was not told yet, as sentences."""
        notes, self._notes = tuple(self._notes), []
        return notes

    def beside(self, place: Place) -> int:
        """Return how many trainings of the run may be on the node of a place at once."""
        return max(1, min(place.node.places, self._executors))

    async def take(self, seed: int | None = None, nodes: Collection[str] = ()) -> Place:
        """Return a place for a job. Waits for one if there are other jobs; else for at most NO_PLACE_S seconds.

        Args:
            seed: The seed of the job. If places on several nodes are free, it gets the node where this seed was trained last:
                pairs have the same seed, and on one node they differ less.
            nodes: The names of the nodes, one of which should run it. It waits while they are busy. If they have left the cluster, or
                cannot start a training for THESE_S seconds, it gets any node.

        Raises:
            ExecutorFailed: There is no node on which the job can run.
        """
        asked = object()
        try:
            return await self._take(asked, seed, nodes)
        finally:
            self._awaited.pop(asked, None)

    async def _take(self, asked: object, seed: int | None, nodes: Collection[str]) -> Place:
        """Return a place as `take` does. While it waits, the nodes that the job needs are kept for it. `asked`: stands for the job."""
        since, patience_s = time.monotonic(), THESE_S
        while True:
            named = await self._present(nodes) if nodes and patience_s > 0 else []
            names = {node.name for node in named}
            if place := await self._living(seed, names):
                return place
            self._awaited.pop(asked, None)  # a start takes up to minutes; nothing is kept meanwhile
            if place := await self._new(names):
                return place
            self._awaited[asked] = names
            if named:
                since = time.monotonic()
                patience_s -= 0 if self._used(named) else LOOK_S
            elif self._busy or self._first_start():
                since = time.monotonic()
                self._note_waiting()
            elif time.monotonic() - since > NO_PLACE_S:
                raise ExecutorFailed(await self._nowhere())
            await asyncio.sleep(LOOK_S)

    def _suits(self, node: Node, names: Collection[str]) -> bool:
        """Return whether a job may get a node: one of these if any are named, else one that no other job waits for."""
        return node.name in names if names else not any(node.name in others for others in self._awaited.values())

    async def _present(self, names: Collection[str]) -> list[Node]:
        """Return which of these nodes the cluster has and the run may use. Raises NodeLost."""
        known = await self._cluster.nodes(self._setup.device)
        return [node for node in known if node.name in names and node.id not in self._refused]

    def _used(self, nodes: Iterable[Node]) -> bool:
        """Return whether a job runs or is being started on one of these nodes."""
        busy = {place.node.id for place in self._busy}
        return any(node.id in busy or self._starting[node.id] for node in nodes)

    def _first_start(self) -> bool:
        """Return whether an actor is being started on a node where nothing has failed. That may need minutes: files are sent."""
        return any(count and not self._failures.known(node) for node, count in self._starting.items())

    def give(self, place: Place, *, trained: int | None = None) -> None:
        """Take a place back after a job, unless all places were closed meanwhile. `trained`: the seed of a job with a result."""
        if trained is not None:
            self._failures.forget(place.node.id)
            self._trained[trained] = place.node.id
        if place in self._busy:
            self._busy.remove(place)
            self._idle.append(place)

    def drop(self, place: Place, *, why: str = "") -> None:
        """End a place. `why`: how its node or actor has failed, so that others come first; "" if it has not."""
        for places in (self._busy, self._idle):
            if place in places:
                places.remove(place)
        if why:
            self._failures.note(place.node.id, why)
        place.kill()

    async def lost(self) -> str:
        """Wait until the cluster is lost for good. Returns why, and what to do next."""
        why = await self._cluster.lost()
        self._close_s = LOST_S
        return why

    async def leave(self) -> None:
        """Count an executor that has ended. The last one closes the cluster."""
        self._executors -= 1
        if self._executors > 0:
            return
        places, self._idle, self._busy = [*self._idle, *self._busy], [], []
        try:
            await asyncio.gather(*(place.close(self._close_s) for place in places), return_exceptions=True)
        finally:
            self._cluster.close()

    def _note_waiting(self) -> None:
        """Tell the user once that there are fewer places than slots. A place that is kept for another job is not a sign of that."""
        if any(self._awaited.values()):
            return
        room = len(self._busy) + self._starting.total()
        if not self._waited and room < self._executors:
            self._waited = True
            self._notes.append(
                f"The Ray cluster has room for {room} of {self._executors} parallel trainings. The others wait for their turn."
            )

    async def _living(self, seed: int | None, names: Collection[str]) -> Place | None:
        """Return an idle place that answers, on one of these nodes if any are named. Those that do not answer are dropped."""
        while idle := [place for place in self._idle if self._suits(place.node, names)]:
            known = [place for place in idle if seed is not None and place.node.id == self._trained.get(seed)]
            place = known[-1] if known else idle[-1]
            self._idle.remove(place)
            self._busy.append(place)
            try:
                await place.facts(self._setup.device)
                return place
            except ExecutorFailed as error:
                self.drop(place, why=str(error))
            except asyncio.CancelledError:
                self.give(place)
                raise
            except BaseException:
                self.drop(place)
                raise
        return None

    async def _new(self, names: Collection[str]) -> Place | None:
        """Start a place on a node with room, one of these if any are named. Returns None if none is there or could be started."""
        nodes = await self._cluster.nodes(self._setup.device)
        node = next((node for node in self._roomy(nodes) if self._suits(node, names)), None)
        if node is None:
            return None
        self._starting[node.id] += 1
        place: Place | None = None
        try:
            place = Place(node, await self._cluster.place(node, self._setup.device))
            facts = await place.facts(self._setup.device)
            if self._refuses(place, facts):
                return None
            async with self._sending.setdefault(node.id, asyncio.Lock()):
                await place.open(self._setup, self.sources)
            if self._refuses(place, facts):  # another slot was faster, on a node of another kind
                return None
            self.kind = facts.kind
            self._busy.append(place)
            return place
        except ExecutorFailed as error:
            if not self._failures.known(node.id):
                self._notes.append(f"{error} Other nodes are used, if there are any.")
            self._failures.note(node.id, str(error))
            if place is not None:
                place.kill()
            return None
        except OSError as error:
            if place is not None:
                place.kill()
            raise ExecutorFailed(
                f"The run's files cannot be read ({error}), so no node can get them. All that was recorded is kept."
            ) from error
        except BaseException:
            if place is not None:
                place.kill()
            raise
        finally:
            self._starting[node.id] -= 1

    def _roomy(self, nodes: Iterable[Node]) -> Iterator[Node]:
        """Yield the nodes with room: those where nothing has failed lately first, then those with few places."""
        used = Counter(place.node.id for place in (*self._idle, *self._busy)) + self._starting
        usable = [node for node in nodes if node.id not in self._refused and not self._failures.waits(node.id)]
        free = [node for node in usable if used[node.id] < node.places]
        yield from sorted(free, key=lambda node: (self._failures.lately(node.id), used[node.id], node.name))

    def _refuses(self, place: Place, facts: Facts) -> bool:
        """End a place whose scores could not be compared. Returns whether that is so."""
        if why := self._unlike(place.node, facts):
            self._refused[place.node.id] = why
            self._notes.append(why)
            place.kill()
        return bool(why)

    def _unlike(self, node: Node, facts: Facts) -> str:
        """Return why scores of a node cannot be compared with those of the run, as a sentence; "" if they can."""
        left_out = "So it is not used."
        if release(facts.torch) != release(self._torch):
            has = f"torch {facts.torch}" if facts.torch else "no torch"
            return f"Node {node.name} has {has}, and this machine torch {self._torch}. {left_out} `pip install -r requirements.txt` there helps."
        if self.kind and facts.kind != self.kind:
            return f"Node {node.name} has {facts.kind}, and this run's trainings use {self.kind}. Their scores could not be compared. {left_out}"
        return ""

    async def _nowhere(self) -> str:
        """Return why there is no place, as sentences."""
        try:
            known = await self._cluster.nodes(self._setup.device)
        except NodeLost as error:
            return str(error)
        reasons = [self._refused.get(node.id) or self._failures.why(node.id) for node in known]
        if any(reasons):
            return f"No node of the Ray cluster can be used. {' '.join(filter(None, reasons))}"
        if known:
            return "No node of the Ray cluster could start a training. `ray status` shows what they do."
        what = "a free GPU" if self._setup.device == "cuda" else "a processor for trainings"
        return f"No node of the Ray cluster with {what} is left. `ray status` on its first machine lists them."


def release(version: str) -> str:
    """Return the version of PyTorch without the part that names its build, such as +cpu."""
    return version.partition("+")[0]
