"""Executors by name. Add one here after writing it against `core.execution.base.Executor`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.execution import deterministic
from core.execution.base import Executor
from core.execution.local import LocalExecutor
from core.machine.project import UsageError

LOCAL = "local"


@dataclass(frozen=True)
class Slot:
    """What an executor is made for.

    `harness`: the run's own copy of nanochat; `log`: a file for what the harness says; `index`: of the slot, and of its GPU on
    a CUDA device; `compiles`: whether torch.compile works.
    """

    harness: Path
    device: str
    log: Path
    index: int
    compiles: bool


Maker = Callable[[Slot], Executor]


@dataclass(frozen=True)
class Entry:
    """One kind of executor: the form of its name, a line of help, and the function that checks its argument and creates it."""

    name: str
    help: str
    maker: Callable[[str], Maker]  # from what stands behind the colon; raises UserError


def _local(argument: str) -> Maker:
    return lambda slot: LocalExecutor(slot.harness, slot.device, slot.log, slot.index, compiles=slot.compiles)


def _deterministic(argument: str) -> Maker:
    world = deterministic.read(Path(argument))
    return lambda slot: deterministic.DeterministicExecutor(world, world.seconds)


ENTRIES = (
    Entry(LOCAL, "trainings on this machine", _local),
    Entry("deterministic:FILE", "no training: scores computed from a table, for rehearsals", _deterministic),
)


def check(spec: str) -> Maker:
    """Return what makes the executor of that name. Raises UserError for one that does not exist."""
    kind, colon, argument = spec.partition(":")
    for entry in ENTRIES:
        name, _, wanted = entry.name.partition(":")
        if kind == name and bool(argument) == bool(colon) == bool(wanted):
            return entry.maker(argument)
    known = "".join(f"\n  {entry.name:<19} {entry.help}" for entry in ENTRIES)
    raise UsageError(f"There is no executor {spec!r}. Nothing was started. These are known:{known}")


def absolute(spec: str) -> str:
    """The same executor, whatever folder a later start is made in."""
    kind, colon, argument = spec.partition(":")
    return f"{kind}{colon}{Path(argument).resolve()}" if argument else spec
