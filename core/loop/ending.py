"""Whether and why the loop ends: by a command, at a limit, or after a failure."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from core.model import Limits
from core.record.journal import JournalError
from core.record.state import State


@dataclass
class Ending:
    """Whether, why and how the loop ends."""

    limits: Limits
    hours_before: float = 0.0  # hours of `limits.max_hours` that earlier starts have used
    reason: str = ""  # why it ends; "" while it goes on
    now: bool = False  # whether it ends without waiting for running experiments
    finished: bool = False  # whether the run is complete
    check_result: bool = False  # whether the final check comes before the end
    failure: Exception | None = None  # the exception that the loop raises at its end
    _began: float = field(default_factory=time.monotonic)

    @property
    def _hours(self) -> float:
        """Hours of work that count against the limit."""
        return self.hours_before + (time.monotonic() - self._began) / 3600

    def stop(self, reason: str, *, now: bool = False, finished: bool = False, check_result: bool = False) -> None:
        """End after the running experiments, or `now` without waiting for them. The first reason counts.

        With `check_result` the final check follows the experiments. The last stop decides about that.
        """
        self.reason = self.reason or reason
        self.check_result = check_result
        self.now = self.now or now
        self.finished = self.finished or finished

    def fail(self, error: Exception) -> None:
        """End at once because of an error. The first error counts, but a JournalError replaces it."""
        if self.failure is None or isinstance(error, JournalError):
            self.failure = error

    def check(self, state: State, *, nothing_left: bool) -> None:
        """Stop if a limit is reached. `nothing_left`: the agent is exhausted, and all its proposals are judged."""
        limits = self.limits
        if self.reason:
            return
        if limits.max_experiments is not None and state.counted >= limits.max_experiments and not state.open:
            self.stop(f"reached --max-experiments {limits.max_experiments}", finished=True, check_result=True)
        elif limits.max_hours is not None and self._hours >= limits.max_hours:
            self.stop(f"reached --max-hours {limits.max_hours:g}", finished=True, check_result=True)
        elif state.crash_streak >= limits.max_crashes_in_a_row:
            self.stop(f"{state.crash_streak} experiments in a row failed; the last findings in notebook.md say how")
        elif nothing_left:
            self.stop("the agent has nothing left to propose", finished=True, check_result=True)
