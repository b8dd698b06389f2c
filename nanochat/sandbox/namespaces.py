"""Namespaces of a trainer's own: processes, network, IPC, and a small /dev/shm. Numbers are those of linux/sched.h and mount.h."""

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
    """Leave the machine's process, network and IPC namespaces: for children, in the case of processes.

    Needs a single thread, and `dumpable` where a user namespace is wanted: without root one is entered along with the
    others, all in one step, so that a refusal changes nothing. Returns the short names of what could not be had.
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
    """Mount a small empty /dev/shm that only this process and its children see, and that ends with them.

    POSIX semaphores lie there; the processes that compile kernels need some. Call it after `enter_namespaces`, in a single
    thread. Returns False where the system refuses it: /dev/shm is then the machine's, and no trainer may use it.
    """
    if not LINUX or libc.unshare(_NEW_MOUNTS) != 0:
        return False
    if libc.mount(None, b"/", None, _REC | _SLAVE, None) != 0:  # else the machine would see the new mount
        return False
    flags = _NO_SUID | _NO_DEV | _NO_EXEC
    return bool(libc.mount(b"tmpfs", bytes(SHARED_MEMORY), b"tmpfs", flags, _SHARED_MEMORY_SIZE) == 0)


def _map_user(uid: int, gid: int) -> None:
    """Keep one's own number in the new user namespace. Where that is refused, files are still one's own."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            Path("/proc/self", name).write_text(text)
        except OSError:
            return
