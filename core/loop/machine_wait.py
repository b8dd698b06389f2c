"""Waiting after failures of the machine, such as a locked git repository or a full disk."""

from __future__ import annotations

import time
from collections.abc import Callable

from core.git.errors import RepositoryError
from core.loop.backoff import FAILING_S, Backoff
from core.record import events as ev
from core.reporting.phrases import duration
from core.run.active import ActiveRun

KINDS = {"job": "training"}  # what fails -> how people call it


class MachineWait:
    """Delays verdicts and jobs after a failure of the machine."""

    def __init__(self, active: ActiveRun) -> None:
        self._active = active
        self.backoff = Backoff()

    @property
    def waiting(self) -> bool:
        """Whether the wait after a failure is still going on."""
        return time.monotonic() < self.backoff.until

    def begin(self, reason: str, what: str) -> None:
        """Record why `what` failed, and begin to wait."""
        now = time.monotonic()
        wait_s = self.backoff.failed(what, now)
        text = f"{reason} It is tried again in {wait_s:.0f} s."
        if stalled := self.backoff.keeps_failing(what, now):
            text = f"No {KINDS.get(what, what)} was possible for {duration(FAILING_S)}. {text}"
        self._active.record(ev.Notice(text=text, stalled=stalled))

    def attempt(self, work: Callable[[], None]) -> None:
        """Do this work on verdicts, unless a wait is going on. Failures of git and of files begin a wait."""
        if self.waiting:
            return
        try:
            work()
            self.backoff.succeeded("verdict")
        except RepositoryError as error:
            self.begin(str(error), "verdict")
        except OSError as error:
            self.begin(f"The files of a verdict cannot be written ({error}). All that was recorded is kept.", "verdict")
