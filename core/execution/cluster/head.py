"""Notices that the head of a Ray cluster is gone. Ray itself waits for it, and then ends the process without a word."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

EVERY_S = 3.0  # between two tries to connect
ANSWER_S = 3.0  # how long a try may take
ASK_S = 10.0  # how long the head may take to say whether this process belongs to its cluster
GONE_S = 35.0  # without an answer for so long, the head is gone. Ray gives up after 60 s
KEPT = "All that was recorded is kept, and the trainings that were under way are run again."
AGAIN = "Start Ray again on the first machine and on the nodes, then `make run`: the run continues."
HERE_AGAIN = "`make run` starts Ray again and continues the run."

# Whether this process still belongs to the cluster that answers; None if that is not known yet.
Belongs = Callable[[], Awaitable[bool | None]]


class HeadWatch:
    """Tries again and again to connect to the head of a cluster, until it is gone.

    A head that comes back within GONE_S seconds may have kept what it knew, or it may be the head of a new cluster. So after an
    absence it is asked. A new cluster knows nothing of the actors of this process, and Ray does not join it by itself.

    Args:
        host: The host of the head.
        port: The port on which it answers.
        belongs: Asks the cluster that answers whether this process belongs to it. What it raises counts as no answer.
        local: Whether the cluster was started for this process, on this machine.
    """

    def __init__(self, host: str, port: int, belongs: Belongs, *, local: bool = False) -> None:
        self._host, self._port, self._belongs, self._local = host, port, belongs, local
        self._doubted: float | None = None  # when the doubt whether the head is there began; None without one
        self._task: asyncio.Task[str] | None = None

    @property
    def gone(self) -> bool:
        """Whether the head is known to be gone."""
        task = self._task
        return task is not None and task.done() and not task.cancelled() and task.exception() is None

    async def lost(self) -> str:
        """Wait until the head is gone. Several callers may wait. The first one starts the watch.

        Returns:
            What happened, what was kept, and what to do next.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._watch())
        return await asyncio.shield(self._task)

    def doubt(self) -> None:
        """Note that the cluster did not answer a question, so that the head is asked whether this process belongs to it."""
        if self._doubted is None:
            self._doubted = time.monotonic()

    def stop(self) -> None:
        """End the watch."""
        if self._task is not None and not self._task.get_loop().is_closed():
            self._task.cancel()

    async def _watch(self) -> str:
        while True:
            answers = await self._answers()
            if not answers:
                self.doubt()
            elif self._doubted is not None:
                belongs = await self._asked()
                if belongs is False:
                    return self._sentence("was started anew. The new cluster knows nothing of this run")
                if belongs:
                    self._doubted = None
            if self._doubted is not None and time.monotonic() - self._doubted >= GONE_S:
                silent = f"has not answered for {GONE_S:.0f} s"
                return self._sentence(silent if not answers else "answers, but this run cannot join it again")
            await asyncio.sleep(EVERY_S)

    async def _answers(self) -> bool:
        """Return whether a connection to the head can be made."""
        try:
            async with asyncio.timeout(ANSWER_S):
                _, writer = await asyncio.open_connection(self._host, self._port)
        except (OSError, TimeoutError):
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def _asked(self) -> bool | None:
        """Return whether this process belongs to the cluster that answers. None if it does not say so in time."""
        try:
            async with asyncio.timeout(ASK_S):
                return await self._belongs()
        except Exception:  # Ray raises errors of many kinds
            return None

    def _sentence(self, what: str) -> str:
        cluster = "on this machine" if self._local else f"at {self._host}:{self._port}"
        return f"The head of the Ray cluster {cluster} {what}. The run ends here. {KEPT} {HERE_AGAIN if self._local else AGAIN}"
