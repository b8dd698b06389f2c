"""The protocol of executors, which run trainings. To add one, write its three methods and a row in registry.py."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from core.errors import UserError
from core.record.live import Load
from nanochat.contract.job import Job, Result
from nanochat.contract.messages import Progress, Started

FILES = "The files of a job cannot be read or written ({error}). All that was recorded is kept."


@dataclass(frozen=True)
class Placed:
    """A job will run on another machine.

    Attributes:
        job: The id of the job.
        node: The name of the machine.
        kind: Its processor or card. Scores of different kinds cannot be compared.
        notes: What the user should know about the machines, as sentences.
    """

    job: str
    node: str
    notes: tuple[str, ...] = ()
    kind: str = ""


Update = Callable[[Started | Progress | Placed | Load], None]


class ExecutorFailed(UserError):
    """The executor failed, not the experiment. The message is shown to the user."""


class DeviceGone(ExecutorFailed):
    """The device cannot be used, such as a GPU whose driver was replaced. That happens with any train.py."""


class MachineLost(ExecutorFailed):
    """Another machine was lost, and its training with it. Neither this machine nor the experiment is at fault."""


class ExecutorLost(UserError):
    """What runs the trainings is gone for good. The run ends, and another start continues it."""


class DataUnusable(UserError):
    """The scorer cannot use the run's data, and a retry cannot help."""


class Executor(Protocol):
    """One slot, which runs one job at a time."""

    async def run(self, job: Job, update: Update, nodes: Collection[str] = ()) -> Result:
        """Run a job to its end.

        Args:
            job: The train.py, its data, its seed and its limits.
            update: Called with `Placed` if the job runs on another machine, with `Started` once the trainer runs, then with
                `Progress` from time to time, and with the `Load` of another machine.
            nodes: The names of the machines, one of which should run it; () if any may. If none of them can, another one does. An
                executor with one machine ignores this.

        Returns:
            The result. A training that fails also has one: its outcome says crash, timeout, overrun or invalid.

        Raises:
            ExecutorFailed: The harness failed. The executor can be used again.
            MachineLost: The machine of the training failed. The executor waits before it uses that machine again.
            ExecutorLost: No executor of this start can be used again.
            DataUnusable: The data cannot be used, and a retry cannot help.
        """
        ...

    async def abort(self) -> None:
        """End the running job early. Its result then has the outcome `INTERRUPTED`."""
        ...

    async def close(self) -> None:
        """End the running job, and release processes and files."""
        ...
