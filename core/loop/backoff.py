"""A machine that fails: how long it is waited for, and when it is not the machine but the change. Pure: the time is handed in."""

from __future__ import annotations

from dataclasses import dataclass, field

BACKOFF_S = (2.0, 300.0)  # the first and the longest wait for what failed
HARNESS_TRIES = 3  # a job whose harness broke this often is given up, where that is not the machine's fault
HARNESS_PATIENCE_S = 900.0  # for so long it may be


def longer(before_s: float) -> float:
    """Seconds of the next wait: twice the one before, within what is sensible."""
    return min(max(before_s * 2, BACKOFF_S[0]), BACKOFF_S[1])


@dataclass
class Backoff:
    """What the machine failed in lately. Times are seconds of one clock that never goes back."""

    until: float = 0.0  # then it is tried again
    _waits: dict[str, float] = field(default_factory=dict)  # what failed -> the last wait for it, in seconds
    _broken: dict[str, tuple[int, float]] = field(
        default_factory=dict
    )  # commit -> how often its harness failed, and since when
    _worked: float = 0.0  # when a job last came to a result

    def hold(self, what: str, now: float) -> float:
        """It failed: seconds to wait, ever longer until the same thing succeeds."""
        wait_s = self._waits[what] = longer(self._waits.get(what, 0.0))
        self.until = now + wait_s
        return wait_s

    def succeeded(self, what: str) -> None:
        self._waits.pop(what, None)

    def job_ended(self, now: float) -> None:
        """One came to a result, whichever."""
        self.succeeded("job")
        self._worked = now

    def given_up(self, commit: str, now: float) -> bool:
        """Its harness failed: whether that is this commit's own doing. Others came to a result meanwhile, or it is like that for long."""
        tries, since = self._broken.get(commit, (0, now))
        self._broken[commit] = tries + 1, since
        return tries + 1 >= HARNESS_TRIES and (self._worked > since or now - since > HARNESS_PATIENCE_S)
