"""Waiting times after failures of the machine, and when to give up on a change. Pure: the time is an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from core.waits import GrowingWait

BACKOFF_S = (2.0, 300.0)  # the first and the longest wait
HARNESS_TRIES = 3  # failures of the harness after which a commit is given up, unless the machine is at fault
LOST_TRIES = 10  # machines lost during trainings of a commit after which it is given up in the same way
STALLED_S = 1800.0  # time without a success after which the user is told that the run is stalled
FAILING_S = 300.0  # the same for a machine that fails, on which nothing can be measured
HARNESS_GIVEN_UP_S = 900.0  # a commit that fails for longer is given up, even if no other job succeeds


def growing_wait() -> GrowingWait:
    """Return a wait of the loop, before its first failure."""
    return GrowingWait(*BACKOFF_S)


@dataclass
class Stall:
    """How long something has failed without a success. Times are seconds of a monotonic clock.

    Attributes:
        after_s: How long it must fail before the user is told.
    """

    after_s: float
    _since: float | None = None  # the first failure since the last success
    _told: bool = False

    def failed(self, now: float, wait_s: float = 0.0) -> bool:
        """Note a failure. Returns whether to notify the user, at most once until the next success.

        `wait_s`: time until it is tried again. It counts already, since nothing happens meanwhile.
        """
        if self._since is None:
            self._since = now
        is_long = now + wait_s - self._since >= self.after_s
        news = is_long and not self._told
        self._told = self._told or is_long
        return news

    def succeeded(self) -> None:
        """Note a success."""
        self._since, self._told = None, False


@dataclass
class Failures:
    """Failures of one commit in a row. Times are seconds of a monotonic clock.

    Attributes:
        since: The first one.
        count: How many. Trainings that run at the same time and fail together count once.
    """

    since: float
    count: int = 0
    _last: float = -math.inf  # the latest one that counts

    def add(self, now: float, began: float) -> None:
        """Note the failure of a training that had begun at `began`."""
        if began >= self._last:
            self.count, self._last = self.count + 1, now


@dataclass
class Backoff:
    """Recent failures of the machine. Times are seconds of a monotonic clock."""

    until: float = 0.0  # when to try again
    _waits: dict[str, GrowingWait] = field(default_factory=dict)  # by what failed
    _stalls: dict[str, Stall] = field(default_factory=dict)  # what failed -> for how long
    _broken: dict[str, Failures] = field(default_factory=dict)  # commit -> the failures of its harness
    _lost: dict[str, Failures] = field(
        default_factory=dict
    )  # commit -> the machines that were lost during its trainings
    _worked: float = 0.0  # when a job last came to a result

    def failed(self, what: str, now: float) -> float:
        """Note that `what` failed. Returns the seconds to wait, which grow until it succeeds."""
        wait = self._waits.setdefault(what, growing_wait())
        wait_s = wait.failed(now)
        self.until = wait.until
        return wait_s

    def keeps_failing(self, what: str, now: float) -> bool:
        """Note another failure of `what`. Returns whether to notify the user now that it keeps failing. Call this once after each failure."""
        wait = self._waits.get(what)
        return self._stalls.setdefault(what, Stall(FAILING_S)).failed(now, wait.wait_s if wait is not None else 0.0)

    def succeeded(self, what: str) -> None:
        """Note that `what` worked: after its next failure the wait is short again."""
        self._waits.pop(what, None)
        self._stalls.pop(what, None)

    def job_finished(self, commit: str, now: float) -> None:
        """Note that a job of a commit finished with a result. Its earlier failures then say nothing about it."""
        self.succeeded("job")
        self._worked = now
        self._broken.pop(commit, None)
        self._lost.pop(commit, None)

    def lost(self, commit: str, now: float, began: float) -> bool:
        """Note that a machine was lost during a training. Returns whether to give up on the commit, as in `harness_failed`."""
        return self._gives_up(self._lost.setdefault(commit, Failures(now)), now, began, LOST_TRIES)

    def harness_failed(self, commit: str, now: float, began: float, *, of_machine: bool = False) -> bool:
        """Note that the harness failed at a training that had begun at `began`. Returns whether to give up on the commit.

        This happens after HARNESS_TRIES failures, if other jobs have succeeded since the first failure or it was long ago.

        `of_machine`: Whether any train.py may fail like that, as without a GPU. Then the time alone does not count.
        """
        failures = self._broken.setdefault(commit, Failures(now))
        return self._gives_up(failures, now, began, HARNESS_TRIES, ever=not of_machine)

    def _gives_up(self, failures: Failures, now: float, began: float, most: int, *, ever: bool = True) -> bool:
        failures.add(now, began)
        long_ago = ever and now - failures.since > HARNESS_GIVEN_UP_S
        return failures.count >= most and (self._worked > failures.since or long_ago)
