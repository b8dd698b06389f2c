"""Ask all nodes of a cluster what they have for trainings."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from core.execution.base import ExecutorFailed
from core.execution.cluster.messages import Condition, decode
from core.execution.cluster.place import BEGIN_S
from core.execution.cluster.ray_cluster import Cluster, Node, Remote

ASK_S = BEGIN_S + 60.0  # to start an actor, and to try the sandbox
DEVICES = ("cpu", "cuda")


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
    found: dict[str, Surveyed] = {}
    for device in DEVICES:
        for node in await cluster.nodes(device):
            found.setdefault(node.id, Surveyed(node)).places[device] = node.places
    await asyncio.gather(*(_ask(cluster, one) for one in found.values()))
    return sorted(found.values(), key=lambda one: one.node.name)


async def _ask(cluster: Cluster, one: Surveyed) -> None:
    remote: Remote | None = None
    try:
        remote = await cluster.place(one.node, "")
        one.condition = decode(await remote.call("examine", one.device.encode(), within_s=ASK_S), Condition)
    except ExecutorFailed as error:
        one.why = str(error)
    except (ValueError, RecursionError) as error:
        one.why = f"Node {one.node.name} gave an answer that cannot be read ({' '.join(str(error).split())[:200]})."
    finally:
        if remote is not None:
            remote.kill()
