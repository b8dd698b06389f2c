"""Ask all nodes of a cluster what they have for trainings."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from core.execution.base import ExecutorFailed
from core.execution.cluster.messages import Condition
from core.execution.cluster.place import Place
from core.execution.cluster.ray_cluster import RESOURCES, Cluster, Node


@dataclass
class Surveyed:
    """A node that was asked.

    Attributes:
        node: The node.
        places: Device -> how many trainings fit on it.
        condition: What it has; None if it did not answer.
        why: Why it did not answer, as a sentence.
    """

    node: Node
    places: dict[str, int] = field(default_factory=dict)
    condition: Condition | None = None
    why: str = ""

    @property
    def device(self) -> str:
        """What it is asked about: cuda if it has room for trainings on cards."""
        return "cuda" if "cuda" in self.places else "cpu"


async def survey(cluster: Cluster) -> list[Surveyed]:
    """Ask all nodes at once, also those whose places are taken. Raises NodeLost if the nodes are unknown."""
    by_node: dict[str, Surveyed] = {}
    for device in RESOURCES:
        for node in await cluster.nodes(device):
            by_node.setdefault(node.id, Surveyed(node)).places[device] = node.places
    await asyncio.gather(*(_ask(cluster, one) for one in by_node.values()))
    return sorted(by_node.values(), key=lambda one: one.node.name)


async def _ask(cluster: Cluster, node: Surveyed) -> None:
    place: Place | None = None
    try:
        place = Place(node.node, await cluster.place(node.node, ""))
        node.condition = await place.condition(node.device)
    except ExecutorFailed as error:
        node.why = str(error)
    finally:
        if place is not None:
            place.kill()
