"""The head of a cluster that Ray is connected to: which nodes it knows, and whether it is still there.

`ray.nodes()` ends the whole process if the head was started anew meanwhile. A client of the head raises an error instead. Only with
`ray://` it is safe, since it is called on the head's machine.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.execution.cluster import daemon_threads
from core.execution.cluster.head import ASK_S, HeadWatch

CLIENT = "ray://"  # how the address of Ray's client begins
ANEW = "WrongClusterID"  # in the error of a head that was started anew
ALIVE = 0  # the state of a living node


@dataclass(frozen=True)
class Listed:
    """A living node. `resources`: Ray's name of a resource -> how much of it the node has."""

    id: str
    name: str
    resources: Mapping[str, float]


@dataclass(frozen=True)
class Head:
    """The head of a cluster.

    Attributes:
        nodes: Asks for the living nodes, within so many seconds if the head answers at all. Raises errors of many kinds.
        watch: Notices that it is gone.
    """

    nodes: Callable[[float], Sequence[Listed]]
    watch: HeadWatch


def joined(ray: Any, address: str) -> Head:
    """Return the head of a cluster.

    Args:
        ray: The module ray, connected to the cluster.
        address: The address that it was connected with; "" for a cluster on this machine.
    """
    if address.startswith(CLIENT):
        return _by_client(ray, address)
    head = str(ray.get_runtime_context().gcs_address)
    client = importlib.import_module("ray._raylet").GcsClient(address=head)

    def nodes(within_s: float) -> Sequence[Listed]:
        infos = client.get_all_node_info(timeout=within_s).values()
        return [
            Listed(one.node_id.hex(), _name(one.node_name, one.node_manager_address, one.node_manager_hostname), dict(one.resources_total))
            for one in infos if one.state == ALIVE
        ]  # fmt: skip

    async def belongs() -> bool | None:
        try:
            await daemon_threads.call(lambda: nodes(ASK_S))
        except Exception as error:  # Ray raises errors of many kinds
            return False if ANEW in str(error) else None
        return True

    return Head(
        nodes, HeadWatch(*_host_and_port(head if address in ("", "auto") else address), belongs, local=not address)
    )


def _by_client(ray: Any, address: str) -> Head:
    client = importlib.import_module("ray.util.client").ray

    def nodes(within_s: float) -> Sequence[Listed]:
        return [_listed(one) for one in ray.nodes() if one["Alive"]]

    async def belongs() -> bool | None:
        return client.is_connected() or None  # it tries to join again for half a minute

    return Head(nodes, HeadWatch(*_host_and_port(address.removeprefix(CLIENT)), belongs))


def _listed(info: Mapping[str, Any]) -> Listed:
    """Return a node of `ray.nodes()`."""
    names = [str(info.get(key) or "") for key in ("NodeName", "NodeManagerAddress", "NodeManagerHostname")]
    return Listed(info["NodeID"], _name(*names), info["Resources"])


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _name(given: str, address: str, machine: str) -> str:
    """Return the name that a node was started with, or that of its machine."""
    return given if given and given != address else machine or address
