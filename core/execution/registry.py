"""Executors by name. A new one needs a row in `ENTRIES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.execution import deterministic
from core.execution.base import Executor
from core.execution.local import LocalExecutor
from core.machine.project import UsageError
from nanochat.contract import registry
from nanochat.contract.registry import Entry

LOCAL = "local"


@dataclass(frozen=True)
class Slot:
    """The settings that an executor is created with.

    Attributes:
        harness: The run's own copy of nanochat.
        device: cpu, cuda or mps.
        log: The file for the stderr of the harness.
        index: The index of the slot, and of its GPU on a CUDA device.
        compiles: Whether torch.compile works.
    """

    harness: Path
    device: str
    log: Path
    index: int
    compiles: bool


Maker = Callable[[Slot], Executor]


def _local(argument: str) -> Maker:
    return lambda slot: LocalExecutor(slot.harness, slot.device, slot.log, slot.index, compiles=slot.compiles)


def _deterministic(argument: str) -> Maker:
    world = deterministic.read(Path(argument))
    return lambda slot: deterministic.DeterministicExecutor(world, world.seconds)


# A factory takes the text after the colon and raises UserError.
ENTRIES: tuple[Entry[Callable[[str], Maker]], ...] = (
    Entry(LOCAL, "trainings on this machine", _local),
    Entry("deterministic:FILE", "no training: scores computed from a table, for rehearsals", _deterministic),
)


def check(spec: str) -> Maker:
    """Return a function that creates the executor of that name. Raises UserError if there is no such executor."""
    found = registry.find(spec, ENTRIES)
    if found is None:
        raise UsageError(
            f"There is no executor {spec!r}. Nothing was started. These are known:{registry.table(ENTRIES)}"
        )
    factory, argument = found
    return factory(argument)


def absolute(spec: str) -> str:
    """Return the name, with an absolute path if its argument is a FILE, so that a later start from another folder finds the same file."""
    kind, colon, argument = spec.partition(":")
    is_path = any(entry.name == f"{kind}:FILE" for entry in ENTRIES)
    return f"{kind}{colon}{Path(argument).resolve()}" if argument and is_path else spec
