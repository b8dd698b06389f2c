"""Waiting times that grow with each failure in a row. Pure: the time is an argument."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class GrowingWait:
    """How long something that failed is not tried again. Times are seconds of a monotonic clock.

    Attributes:
        first_s: The wait after the first failure.
        longest_s: The longest wait. Each wait is twice the one before, up to this.
        wait_s: The last wait; 0 before the first failure.
        until: When to try again.
    """

    first_s: float
    longest_s: float
    wait_s: float = 0.0
    until: float = 0.0

    def failed(self, now: float, *, least_s: float = 0.0, most_s: float = math.inf) -> float:
        """Note a failure.

        Args:
            now: The time.
            least_s: The wait is at least this long.
            most_s: The wait is at most this long, unless `least_s` is longer.

        Returns:
            The seconds to wait.
        """
        doubled = min(max(2 * self.wait_s, self.first_s), self.longest_s, most_s)
        self.wait_s = max(doubled, least_s)
        self.until = now + self.wait_s
        return self.wait_s

    def succeeded(self) -> None:
        """Note a success: the wait after the next failure is short again."""
        self.wait_s = 0.0

    def put_off(self, until: float) -> None:
        """Wait at least until this time. It has no effect on the next wait."""
        self.until = max(self.until, until)
