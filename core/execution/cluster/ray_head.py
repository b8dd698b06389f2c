"""The watch over the head of a cluster that Ray is connected to."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

from core.execution.cluster import aside
from core.execution.cluster.head import Belongs, HeadWatch

CLIENT = "ray://"  # how the address of Ray's client begins


def watch(ray: Any, address: str) -> HeadWatch:
    """Return a watch over the head of a cluster.

    Args:
        ray: The module ray, connected to the cluster.
        address: The address that it was connected with; "" for a cluster on this machine.
    """
    if address.startswith(CLIENT):
        client = importlib.import_module("ray.util.client").ray

        async def connected() -> bool | None:
            return client.is_connected() or None  # it tries to join again for half a minute

        host, _, port = address.removeprefix(CLIENT).rpartition(":")
        return HeadWatch(host.strip("[]"), int(port), connected)
    head = str(ray.get_runtime_context().gcs_address)
    host, _, port = head.rpartition(":")
    return HeadWatch(host.strip("[]"), int(port), _same_cluster(head), local=not address)


def _same_cluster(head: str) -> Belongs:
    """Return a function that asks the cluster at this address whether it is still the one that answers now.

    Where this version of Ray does not tell the id of a cluster, it always is.
    """
    ask = getattr(importlib.import_module("ray._raylet"), "GcsClient", None)

    def identify() -> str:
        return str(ask(address=head).cluster_id.hex()) if ask is not None else ""

    own = ""
    with contextlib.suppress(Exception):  # Ray raises errors of many kinds
        own = identify()

    async def same() -> bool | None:
        return not own or await aside.call(identify) == own

    return same
