"""What failed on the nodes of a cluster, and when each may be tried again."""

from __future__ import annotations

import time
from dataclasses import dataclass

WAITS_S = (2.0, 30.0)  # the first and the longest wait before a node is tried again
LATELY_S = 120.0  # for so long, a node that failed comes after the others


@dataclass(frozen=True)
class Failure:
    """The last failure on a node. `wait_s`: how long it is not tried after that."""

    why: str
    at: float
    wait_s: float


class Failures:
    """The failures of nodes, by the id of the node. They are forgotten once a training ends there."""

    def __init__(self) -> None:
        self._found: dict[str, Failure] = {}

    def note(self, node: str, why: str) -> None:
        """Note that something failed on a node. `why` is a sentence. The wait is twice the one before.

        Several slots lose a node at once, so a failure during a wait does not make it longer.
        """
        before = self._found.get(node)
        wait_s = WAITS_S[0]
        if before is not None:
            wait_s = before.wait_s if self.waits(node) else min(before.wait_s * 2, WAITS_S[1])
        self._found[node] = Failure(why, time.monotonic(), wait_s)

    def forget(self, node: str) -> None:
        """Note that a training has ended on a node."""
        self._found.pop(node, None)

    def known(self, node: str) -> bool:
        """Return whether something has failed on a node since a training last ended there."""
        return node in self._found

    def why(self, node: str) -> str:
        """Return the last failure on a node as a sentence, or ""."""
        return self._found[node].why if node in self._found else ""

    def waits(self, node: str) -> bool:
        """Return whether it is too early to try a node again."""
        failure = self._found.get(node)
        return failure is not None and time.monotonic() - failure.at < failure.wait_s

    def lately(self, node: str) -> bool:
        """Return whether something failed on a node a short time ago."""
        failure = self._found.get(node)
        return failure is not None and time.monotonic() - failure.at < LATELY_S
