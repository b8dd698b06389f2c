"""Removes locks that a killed git process has left on refs."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

STALE_LOCK_S = 2.0  # git only holds the lock of a ref for milliseconds


def remove_stale(*locks: Path) -> list[Path]:
    """Remove locks that do not change for STALE_LOCK_S. Times of files are not used, since clocks may differ.

    Returns:
        The locks that were removed.
    """
    before = {lock: _identity(lock) for lock in locks}
    present = [lock for lock, identity in before.items() if identity is not None]
    if present:
        time.sleep(STALE_LOCK_S)
    removed = []
    for lock in present:
        if _identity(lock) == before[lock]:
            with contextlib.suppress(OSError):
                lock.unlink()
                removed.append(lock)
    return removed


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Return values that distinguish a file from a later one with the same name, or None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
