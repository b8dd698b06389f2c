"""The lines of `doctor --executor ray`: the nodes of a cluster, and what each has and lacks for trainings."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from core.doctor import LEAST_DISK, LEAST_MEMORY, Check, Status
from core.execution.base import ExecutorFailed
from core.execution.cluster import ray_cluster
from core.execution.cluster.messages import Condition
from core.execution.cluster.places import release
from core.execution.cluster.ray_cluster import Cluster
from core.execution.cluster.survey import Surveyed, survey
from core.machine import stats
from core.machine.project import torch_build

Connect = Callable[[], Cluster]


def examine(address: str) -> list[Check]:
    """Connect to a cluster and ask its nodes. Without an address, one is started on this machine and ended again.

    Args:
        address: The address of the cluster as Ray understands it; "" for this machine.

    Raises:
        UsageError: Ray is not installed, or the cluster cannot be reached.
    """
    ray_cluster.check_installed()
    ray_cluster.check_reachable(address)
    cards = len(stats.gpus())
    device, places = ("cuda", cards) if cards else ("cpu", os.cpu_count() or 1)
    return checks(lambda: ray_cluster.connect(address, places, device), torch_build())


def checks(connect: Connect, torch: str) -> list[Check]:
    """Return a line about the cluster and one for each node. Raises UsageError if the cluster cannot be reached.

    Args:
        connect: Connects to the cluster, which is closed at the end.
        torch: The version of PyTorch on this machine.
    """
    cluster = connect()
    try:
        found = asyncio.run(survey(cluster))
    except ExecutorFailed as error:
        return [
            Check("cluster", "problem", str(error).removesuffix("."), "`ray status` on its first machine shows more")
        ]
    finally:
        cluster.close()
    if not found:
        return [Check("cluster", "problem", "no node has room for a training", "`ray status` lists its nodes")]
    rooms = {device: sum(one.places.get(device, 0) for one in found) for device in ("cpu", "cuda")}
    kinds = {one.condition.facts.kind for one in found if one.condition is not None}
    words = f"{len(found)} node{'' if len(found) == 1 else 's'}, {_room(rooms)}"
    mixed = "Nodes of different kinds: a run uses those like its first one" if len(kinds) > 1 else ""
    return [Check("cluster", "note" if mixed else "ok", words, mixed), *(_node(one, torch) for one in found)]


def _node(one: Surveyed, torch: str) -> Check:
    if one.condition is None:
        return Check("node", "problem", one.why.removesuffix("."), "`ray status` shows whether it lives")
    status: Status = "ok"
    lacks, todo = "sandboxed", ""
    if one.condition.lacks or one.condition.failed:
        status, lacks = "note", f"sandbox: {', '.join(one.condition.lacks) or one.condition.failed}"
        todo = "Its trainings are marked unprotected"
    if problem := _problem(one.condition, torch):
        status, (lacks, todo) = "problem", problem
    about = one.condition
    kind = f"{about.facts.kind}, {about.memory / 1e9:.0f} GB of memory, torch {about.facts.torch or 'missing'}"
    return Check("node", status, f"{one.node.name}: {kind}; {_room(one.places)}; {lacks}", todo)


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
