"""The lines of `doctor --executor ray`: the nodes of a cluster, and what each has and lacks for trainings."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable

from core.doctor import LEAST_DISK, LEAST_MEMORY, Check, Status
from core.execution.base import ExecutorFailed
from core.execution.cluster import ray_cluster
from core.execution.cluster.messages import Condition
from core.execution.cluster.places import release
from core.execution.cluster.ray_cluster import Cluster, Connect
from core.execution.cluster.survey import Surveyed, survey
from core.machine import stats
from core.machine.project import UsageError, torch_build
from core.text import sanitize_line


def examine(address: str) -> list[Check]:
    """Connect to a cluster and ask its nodes. Without an address, one is started on this machine and ended again.

    Args:
        address: The address of the cluster as Ray understands it; "" for this machine.
    """
    cards = len(stats.gpus())
    device, places = ("cuda", cards) if cards else ("cpu", os.cpu_count() or 1)

    def connect() -> Cluster:
        ray_cluster.check_installed()
        ray_cluster.check_reachable(address)
        return ray_cluster.connect(address, places, device)

    return checks(connect, torch_build())


def checks(connect: Connect, torch: str) -> list[Check]:
    """Return a line about the cluster and one for each node.

    Args:
        connect: Connects to the cluster, which is closed at the end. Raises UsageError if that is not possible.
        torch: The version of PyTorch on this machine.
    """
    try:
        cluster = connect()
    except UsageError as error:
        return [Check("cluster", "problem", _clean(str(error)))]
    try:
        nodes = asyncio.run(survey(cluster))
    except ExecutorFailed as error:
        return [Check("cluster", "problem", _clean(str(error)), "`ray status` on its first machine shows more")]
    finally:
        cluster.close()
    if not nodes:
        return [Check("cluster", "problem", "no node has room for a training", "`ray status` lists its nodes")]
    rooms = {device: sum(one.places.get(device, 0) for one in nodes) for device in ray_cluster.RESOURCES}
    kinds = {device: _kinds(nodes, device) for device in rooms}
    words = f"{len(nodes)} node{'' if len(nodes) == 1 else 's'}, {_room(rooms)}"
    mixed = "Nodes of different kinds: a run uses those like its first one" if max(map(len, kinds.values())) > 1 else ""
    return [Check("cluster", "note" if mixed else "ok", words, mixed), *(_node(one, torch) for one in nodes)]


def _kinds(nodes: Iterable[Surveyed], device: str) -> set[str]:
    """Return the kinds of the nodes that were asked about this device."""
    return {one.condition.facts.kind for one in nodes if one.condition is not None and one.device == device}


def _clean(text: str) -> str:
    """Return text from a node as one line without a full stop."""
    return sanitize_line(text).removesuffix(".")


def _node(node: Surveyed, torch: str) -> Check:
    if node.condition is None:
        return Check("node", "problem", _clean(node.why), "`ray status` shows whether it lives")
    status: Status = "ok"
    lacks, todo = "sandboxed", ""
    if node.condition.failed:
        status, lacks = "note", f"the sandbox could not be tried: {node.condition.failed}"
    elif node.condition.lacks:
        status, lacks = "note", f"the sandbox lacks: {', '.join(node.condition.lacks)}"
        todo = "Its trainings are marked unprotected"
    if problem := _problem(node.condition, torch):
        status, (lacks, todo) = "problem", problem
    about = node.condition
    kind = f"{about.facts.kind}, {about.memory / 1e9:.0f} GB of memory, torch {about.facts.torch or 'missing'}"
    return Check("node", status, _clean(f"{node.node.name}: {kind}; {_room(node.places)}; {lacks}"), todo)


def _problem(about: Condition, torch: str) -> tuple[str, str] | None:
    """Return why no training can run there, and what helps; None if one can."""
    if release(about.facts.torch) != release(torch):
        return f"this machine has torch {torch}", "`pip install -r requirements.txt` there"
    if about.free < LEAST_DISK:
        return f"{about.free / 1e9:.1f} GB free for its cache", "Free some space"
    if about.memory < LEAST_MEMORY:
        return "too little memory", "Training needs 3 GB"
    return None


def _room(places: dict[str, int]) -> str:
    words = {"cpu": "on processors", "cuda": "on cards"}
    return "room for " + ", ".join(f"{places[device]} {words[device]}" for device in words if places.get(device))
