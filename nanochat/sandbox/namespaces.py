"""Give a trainer its own process, network and IPC namespaces, and a small /dev/shm. Numbers: linux/sched.h and mount.h."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from nanochat.sandbox import landlock
from nanochat.sandbox.libc import LINUX, libc, set_dumpable

SHARED_MEMORY = Path("/dev/shm")
NAMESPACES = {"pid": 0x20000000, "net": 0x40000000, "ipc": 0x08000000}
_NEWUSER = 0x10000000
_NEW_MOUNTS, _REC, _SLAVE = 0x20000, 0x4000, 1 << 19
_NO_SUID, _NO_DEV, _NO_EXEC = 2, 4, 8
_SHARED_MEMORY_SIZE = b"size=64m,nr_inodes=4096,mode=0700"


def enter_namespaces(gpu: bool = False) -> tuple[str, ...]:
    """Enter new process, network and IPC namespaces. The process namespace applies to children only.

    The process must have a single thread. Without root it also enters a user namespace, for which it must be dumpable.

    Args:
        gpu: Children use an NVIDIA GPU. In a new process namespace its driver needs `mount_proc`. If that does not work on this
            machine, the process namespace is not entered.

    Returns:
        Short names of the namespaces that were not entered.
    """
    if not LINUX:
        return tuple(NAMESPACES)
    wanted = {name: flag for name, flag in NAMESPACES.items() if name != "pid" or not gpu or proc_can_be_mounted()}
    missing = [name for name in NAMESPACES if name not in wanted]
    uid, gid = os.geteuid(), os.getegid()
    everything = sum(wanted.values())
    if libc.unshare(everything) == 0:
        return tuple(missing)
    if libc.unshare(_NEWUSER | everything) == 0:
        _map_user(uid, gid)
        return tuple(missing)
    user = 0
    for name, flag in wanted.items():
        if libc.unshare(flag) == 0:
            continue
        if user or libc.unshare(_NEWUSER | flag) != 0:
            missing.append(name)
        else:
            user = _NEWUSER
            _map_user(uid, gid)
    return tuple(missing)


@functools.cache
def proc_can_be_mounted() -> bool:
    """Return whether a process in new namespaces can mount its own /proc. Tried once, in a child; forked processes know the result.

    Containers often refuse it. Without Landlock it is not tried, since root could write to /proc/sys in it. The caller must have a
    single thread.
    """
    if landlock.abi() < 1:
        return False
    child = os.fork()
    if child == 0:
        code = 1
        try:
            set_dumpable(True)
            if "pid" not in enter_namespaces():
                if os.fork() == 0:
                    os._exit(0 if mount_proc() else 1)
                code = os.waitstatus_to_exitcode(os.wait()[1])
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1] == 0


def mount_proc() -> bool:
    """Mount a /proc of the new process namespace, visible to this process and its children only.

    CUDA's driver names its threads in /proc/<pid>/task/<tid>/comm and fails with error 304 if that file is missing. The process
    must be a child of the one that called `enter_namespaces`.

    Returns:
        Whether that worked.
    """
    flags = _NO_SUID | _NO_DEV | _NO_EXEC
    return _private_mounts() and bool(libc.mount(b"proc", b"/proc", b"proc", flags, None) == 0)


def mount_shared_memory() -> bool:
    """Mount a small empty /dev/shm that is private to this process and its children.

    The processes that compile kernels need it for POSIX semaphores. Call it after `enter_namespaces`, in a single thread.

    Returns:
        Whether that worked. If not, /dev/shm is the machine's, and a trainer must not use it.
    """
    flags = _NO_SUID | _NO_DEV | _NO_EXEC
    memory = bytes(SHARED_MEMORY)
    return _private_mounts() and bool(libc.mount(b"tmpfs", memory, b"tmpfs", flags, _SHARED_MEMORY_SIZE) == 0)


def _private_mounts() -> bool:
    """Enter a new mount namespace whose mounts the rest of the machine does not see. Returns whether that worked."""
    if not LINUX or libc.unshare(_NEW_MOUNTS) != 0:
        return False
    return bool(libc.mount(None, b"/", None, _REC | _SLAVE, None) == 0)


def _map_user(uid: int, gid: int) -> None:
    """Keep the user and group id in a new user namespace. If that is refused, the process still owns its files."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            Path("/proc/self", name).write_text(text)
        except OSError:
            return
