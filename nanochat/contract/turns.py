"""Lets one command at a time do something, such as writing a file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(path: Path, waits: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a file. The kernel releases it whenever the process ends.

    Where no lock can be had, as on a file system without locks, the work goes on without one.

    Args:
        path: The file to write, or a name for what is done. The lock is a file beside it, which is removed at the end.
        waits: Called once if another process holds the lock.
    """
    lock = path.with_name(path.name + ".lock")
    held = _held(lock, waits)
    try:
        yield
    finally:
        if held is not None:
            with contextlib.suppress(OSError):
                lock.unlink()  # whoever waits for it notices that it is gone
            os.close(held)


def _held(lock: Path, waits: Callable[[], None]) -> int | None:
    """Return the descriptor of a lock that this process holds, or None if no lock can be had."""
    waited = False
    while True:
        try:
            file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, file)
            try:
                if not _is_free(file):
                    if not waited:
                        waits()
                    waited = True
                    fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno == errno.ESTALE:  # another machine has removed it
                    continue
                return None
            if _is_there(file, lock):
                stack.pop_all()
                return file


def _is_free(file: int) -> bool:
    """Lock a file unless another process holds it. Returns whether it was free. Raises OSError where there are no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_there(file: int, lock: Path) -> bool:
    """Return whether an opened file is still the one in the folder. The last holder removes it."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(lock))
    except OSError:
        return False
