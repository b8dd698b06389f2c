"""Where experiments run: what an executor takes, gives back and raises. Add one by writing three methods, and a row in registry.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from core.errors import UserError
from nanochat.contract.job import Job, Result
from nanochat.contract.messages import Progress, Started

Update = Callable[[Started | Progress], None]


class ExecutorFailed(UserError):
    """The executor itself broke (not the experiment); the message is a sentence for a human."""


class DataUnusable(UserError):
    """The scorer cannot use the run's data, however often it is tried."""


class Executor(Protocol):
    """One slot: runs one job at a time."""

    async def run(self, job: Job, update: Update) -> Result:
        """Run the job to its end; `update` is told when a trainer has started, and how far it has come.

        Raises ExecutorFailed when the harness broke; the executor can be used again after that. Raises DataUnusable when
        no further try can succeed.
        """
        ...

    async def abort(self) -> None:
        """End the running job early; its Result then says interrupted."""
        ...

    async def close(self) -> None: ...
