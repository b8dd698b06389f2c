"""Give a trainer its own process, network and IPC namespaces, and a small /dev/shm. Numbers: linux/sched.h and mount.h."""

from __future__ import annotations

import os
from pathlib import Path

from nanochat.sandbox.libc import LINUX, libc

SHARED_MEMORY = Path("/dev/shm")
NAMESPACES = {"pid": 0x20000000, "net": 0x40000000, "ipc": 0x08000000}
_NEWUSER = 0x10000000
_NEW_MOUNTS, _REC, _SLAVE = 0x20000, 0x4000, 1 << 19
_NO_SUID, _NO_DEV, _NO_EXEC = 2, 4, 8
_SHARED_MEMORY_SIZE = b"size=64m,nr_inodes=4096,mode=0700"


def enter_namespaces() -> tuple[str, ...]:
    """Enter new process, network and IPC namespaces. The process namespace applies to children only.

    The process must have a single thread. Without root it also enters a user namespace, for which it must be dumpable.

    Returns:
        Short names of the namespaces that could not be entered.
    """
    if not LINUX:
        return tuple(NAMESPACES)
    uid, gid = os.geteuid(), os.getegid()
    everything = sum(NAMESPACES.values())
    if libc.unshare(everything) == 0:
        return ()
    if libc.unshare(_NEWUSER | everything) == 0:
        _map_user(uid, gid)
        return ()
    missing = []
    user = 0
    for name, flag in NAMESPACES.items():
        if libc.unshare(flag) == 0:
            continue
        if user or libc.unshare(_NEWUSER | flag) != 0:
            missing.append(name)
        else:
            user = _NEWUSER
            _map_user(uid, gid)
    return tuple(missing)


def mount_shared_memory() -> bool:
    """Mount a small empty /dev/shm that is private to this process and its children.

    The processes that compile kernels need it for POSIX semaphores. Call it after `enter_namespaces`, in a single thread.

    Returns:
        Whether that worked. If not, /dev/shm is the machine's, and a trainer must not use it.
    """
    if not LINUX or libc.unshare(_NEW_MOUNTS) != 0:
        return False
    if libc.mount(None, b"/", None, _REC | _SLAVE, None) != 0:  # without this the whole machine would see the new mount
        return False
    flags = _NO_SUID | _NO_DEV | _NO_EXEC
    return bool(libc.mount(b"tmpfs", bytes(SHARED_MEMORY), b"tmpfs", flags, _SHARED_MEMORY_SIZE) == 0)


def _map_user(uid: int, gid: int) -> None:
    """Keep the user and group id in a new user namespace. If that is refused, the process still owns its files."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            Path("/proc/self", name).write_text(text)
        except OSError:
            return
