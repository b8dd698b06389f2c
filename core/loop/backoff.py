"""Waiting times after failures of the machine, and when to give up on a change. Pure: the time is an argument."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.waits import GrowingWait

BACKOFF_S = (2.0, 300.0)  # the first and the longest wait
HARNESS_TRIES = 3  # failures of the harness after which a commit is given up, unless the machine is at fault
LOST_TRIES = 10  # machines lost during trainings of a commit after which it is given up in the same way
HARNESS_GIVEN_UP_S = 900.0  # a commit that fails for longer is given up, even if no other job succeeds


def growing_wait() -> GrowingWait:
    """Return a wait of the loop, before its first failure."""
    return GrowingWait(*BACKOFF_S)


@dataclass
class Backoff:
    """Recent failures of the machine. Times are seconds of a monotonic clock."""

    until: float = 0.0  # when to try again
    _waits: dict[str, GrowingWait] = field(default_factory=dict)  # by what failed
    _broken: dict[str, tuple[int, float]] = field(
        default_factory=dict
    )  # commit -> how often its harness failed, and since when
    _lost: dict[str, tuple[int, float]] = field(default_factory=dict)  # the same for lost machines
    _worked: float = 0.0  # when a job last came to a result

    def failed(self, what: str, now: float) -> float:
        """Note that `what` failed. Returns the seconds to wait, which grow until it succeeds."""
        wait = self._waits.setdefault(what, growing_wait())
        wait_s = wait.failed(now)
        self.until = wait.until
        return wait_s

    def succeeded(self, what: str) -> None:
        """Note that `what` worked: after its next failure the wait is short again."""
        self._waits.pop(what, None)

    def job_finished(self, now: float) -> None:
        """Note that some job finished with a result."""
        self.succeeded("job")
        self._worked = now

    def lost(self, commit: str, now: float) -> bool:
        """Note that a machine was lost during a training. Returns whether to give up on the commit, as in `is_hopeless`."""
        return self._gives_up(self._lost, commit, now, LOST_TRIES)

    def is_hopeless(self, commit: str, now: float) -> bool:
        """Note that the harness failed at a commit. Returns whether to give up on the commit.

        That is so after HARNESS_TRIES failures, if other jobs have succeeded since the first one or it was long ago.
        """
        return self._gives_up(self._broken, commit, now, HARNESS_TRIES)

    def _gives_up(self, failed: dict[str, tuple[int, float]], commit: str, now: float, most: int) -> bool:
        tries, since = failed.get(commit, (0, now))
        failed[commit] = tries + 1, since
        return tries + 1 >= most and (self._worked > since or now - since > HARNESS_GIVEN_UP_S)
