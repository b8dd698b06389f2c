"""Recognises a process later, although another one may have its pid by then, and the system clock may have been set."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def boot() -> str:
    """Return an id of the machine. On Linux it also changes with each boot and differs between containers."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return f"{uuid.getnode():x}"


def started(pid: int) -> float | None:
    """Return when a process started, or None if there is no such process.

    On Linux in clock ticks since boot, which no change of the system clock moves, elsewhere in seconds since the epoch.
    """
    if Path("/proc/self/stat").exists():
        try:
            state, *fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
            return None if state in (b"Z", b"X") else float(fields[18])
        except (OSError, ValueError, IndexError):
            return None
    import psutil  # imported late, since it is only needed here

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None
