"""The places of a run on its cluster. Slots take one for each job, so that a run with fewer nodes than before goes on."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator

from core.execution.base import ExecutorFailed
from core.execution.cluster.failures import Failures
from core.execution.cluster.files import Sources
from core.execution.cluster.messages import Facts, Setup
from core.execution.cluster.place import Place
from core.execution.cluster.ray_cluster import Cluster, Node, NodeLost

NO_PLACE_S = 60.0  # how long a job waits when no node is left
LOOK_S = 1.0  # how often it looks for one


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

    def join(self) -> None:
        """Count an executor that uses the places."""
        self._executors += 1

    def notes(self) -> tuple[str, ...]:
        """Return what the user should know and was not told yet, as sentences."""
        found, self._notes = tuple(self._notes), []
        return found

    def beside(self, place: Place) -> int:
        """Return how many trainings of the run may be on the node of a place at once."""
        return max(1, min(place.node.places, self._executors))

    async def take(self, seed: int | None = None) -> Place:
        """Return a place for a job. Waits for one if there are other jobs; else for at most NO_PLACE_S seconds.

        Args:
            seed: The seed of the job. If places on several nodes are free, it gets the node where this seed was trained last:
                pairs have the same seed, and on one node they differ less.

        Raises:
            ExecutorFailed: There is no node on which the job can run.
        """
        since = time.monotonic()
        while True:
            if (place := await self._living(seed)) is not None or (place := await self._new()) is not None:
                return place
            if self._busy or self._first_start():
                since = time.monotonic()
                self._note_waiting()
            elif time.monotonic() - since > NO_PLACE_S:
                raise ExecutorFailed(await self._nowhere())
            await asyncio.sleep(LOOK_S)

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

    async def leave(self) -> None:
        """Count an executor that has ended. The last one closes the cluster."""
        self._executors -= 1
        if self._executors > 0:
            return
        places, self._idle, self._busy = [*self._idle, *self._busy], [], []
        try:
            await asyncio.gather(*(place.close() for place in places), return_exceptions=True)
        finally:
            self._cluster.close()

    def _note_waiting(self) -> None:
        """Tell the user once that there are fewer places than slots."""
        room = len(self._busy) + self._starting.total()
        if not self._waited and room < self._executors:
            self._waited = True
            self._notes.append(
                f"The Ray cluster has room for {room} of {self._executors} parallel trainings. The others wait for their turn."
            )

    async def _living(self, seed: int | None = None) -> Place | None:
        """Return an idle place that answers. Those that do not answer are dropped."""
        while self._idle:
            known = [place for place in self._idle if seed is not None and place.node.id == self._trained.get(seed)]
            place = known[-1] if known else self._idle[-1]
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

    async def _new(self) -> Place | None:
        """Start a place on a node with room. Returns None if there is none, or if it could not be started."""
        nodes = await self._cluster.nodes(self._setup.device)
        node = next(self._roomy(nodes), None)
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
        found = [node for node in usable if used[node.id] < node.places]
        yield from sorted(found, key=lambda node: (self._failures.lately(node.id), used[node.id], node.name))

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
