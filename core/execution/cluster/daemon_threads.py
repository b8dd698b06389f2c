"""Calls functions of Ray in daemon threads, since some of them never return without a head of the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def start(work: Callable[[], object]) -> threading.Thread:
    """Call a function in a thread of its own. The program can end before the function does."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


async def call(work: Callable[[], T]) -> T:
    """Return what a function returns in a thread of its own, or raise what it raises. If this is cancelled, the thread is left alone."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if future.done():  # nobody waits any more
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: T | None = None
        error: Exception | None = None
        try:
            result = work()
        except Exception as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, error)

    start(run)
    return await future
