"""Waiting after failures of the machine, such as a locked git repository or a full disk."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.git.errors import RepositoryError
from core.loop.backoff import Backoff
from core.record import events as ev
from core.run.active import ActiveRun


class Holding:
    """Delays verdicts and jobs after a failure of the machine."""

    def __init__(self, active: ActiveRun) -> None:
        self._active = active
        self.backoff = Backoff()

    @property
    def on(self) -> bool:
        """Whether the wait after a failure is still going on."""
        return time.monotonic() < self.backoff.until

    def begin(self, reason: str, what: str) -> None:
        """Record why `what` failed, and begin to wait."""
        wait_s = self.backoff.failed(what, time.monotonic())
        self._active.record(ev.Notice(text=f"{reason} It is tried again in {wait_s:.0f} s."))

    def attempt(self, work: Callable[[], None]) -> None:
        """Do this work on verdicts, unless a wait is going on. Failures of git and of files begin a wait."""
        if self.on:
            return
        try:
            work()
            self.backoff.succeeded("verdict")
        except RepositoryError as error:
            self.begin(str(error), "verdict")
        except OSError as error:
            self.begin(f"The files of a verdict cannot be written ({error}). All that was recorded is kept.", "verdict")
