"""Executors by name. A new one needs a row in `ENTRIES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from core.execution import deterministic
from core.execution.base import Executor
from core.execution.cluster import ray_cluster
from core.execution.cluster.executor import RayExecutor, share
from core.execution.cluster.places import Places
from core.execution.local import LocalExecutor
from core.machine.project import UsageError
from core.model import RunConfig
from nanochat.contract import registry
from nanochat.contract.registry import Entry

LOCAL, RAY = "local", "ray"


@dataclass(frozen=True)
class Slot:
    """The settings that an executor is created with.

    Attributes:
        harness: The run's own copy of nanochat.
        device: cpu, cuda or mps.
        log: The file for the stderr of the harness.
        index: The index of the slot, and of its GPU on a CUDA device.
        compiles: Whether torch.compile works.
        run: The id of the run.
        kind: The processor or card of the nodes on which it has trained; "" if it has not.
    """

    harness: Path
    device: str
    log: Path
    index: int
    compiles: bool
    run: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Site:
    """Where the executors of a run work.

    Attributes:
        address: The address of a Ray cluster; "" for this machine.
        slots: The number of slots.
    """

    address: str = ""
    slots: int = 1


HERE = Site()
Maker = Callable[[Slot], Executor]


def _local(argument: str, site: Site) -> Maker:
    return lambda slot: LocalExecutor(slot.harness, slot.device, slot.log, slot.index, compiles=slot.compiles)


def _deterministic(argument: str, site: Site) -> Maker:
    world = deterministic.read(Path(argument))
    return lambda slot: deterministic.DeterministicExecutor(world, world.seconds)


def _ray(argument: str, site: Site) -> Maker:
    ray_cluster.check_installed()
    ray_cluster.check_reachable(site.address)
    shared: list[Places] = []  # of all slots; made with the first one

    def make(slot: Slot) -> Executor:
        if not shared:
            connect = partial(ray_cluster.connect, site.address, site.slots, slot.device)
            executor = share(
                slot.harness, slot.run, slot.device, compiles=slot.compiles, cluster=connect, kind=slot.kind
            )
            shared.append(executor)
        return RayExecutor(shared[0])

    return make


# A factory takes the text after the colon and raises UserError.
ENTRIES: tuple[Entry[Callable[[str, Site], Maker]], ...] = (
    Entry(LOCAL, "trainings on this machine", _local),
    Entry(RAY, "trainings on the nodes of a Ray cluster", _ray),
    Entry("deterministic:FILE", "no training: scores computed from a table, for rehearsals", _deterministic),
)


def check(spec: str, site: Site = HERE) -> Maker:
    """Return a function that creates the executor of that name. Raises UserError if the name is unknown, or if the executor cannot be used."""
    entry = registry.find(spec, ENTRIES)
    if entry is None:
        raise UsageError(
            f"There is no executor {spec!r}. Nothing was started. These are known:{registry.table(ENTRIES)}"
        )
    factory, argument = entry
    return factory(argument, site)


def maker(config: RunConfig) -> Maker:
    """Return a function that creates the executors of a run. Raises UserError like `check`."""
    return check(config.executor, Site(config.ray_address, config.slots))


def absolute(spec: str) -> str:
    """Return the name, with an absolute path if its argument is a FILE, so that a later start from another folder finds the same file."""
    kind, colon, argument = spec.partition(":")
    is_path = any(entry.name == f"{kind}:FILE" for entry in ENTRIES)
    return f"{kind}{colon}{Path(argument).resolve()}" if argument and is_path else spec
