"""Drop the rights of a trainer. It may read libraries but no files of the user, write to one folder, and not use the network.

Linux only. Uses namespaces (namespaces.py), Landlock (landlock.py), a filter of system calls (seccomp.py), resource limits, and
drops capabilities. Parts that a machine lacks are returned for the user and shown as `unprotected`.
"""

from __future__ import annotations

import os
import platform
import resource
import socket
from collections.abc import Sequence
from pathlib import Path

from nanochat.sandbox import capabilities, landlock, seccomp
from nanochat.sandbox.libc import LINUX, PR_SET_NO_NEW_PRIVS, prctl

NO_FILES, NO_NETWORK, NO_PROCESSES = "no Landlock (files)", "no network barrier", "no process namespace"
_OPEN_FILES = 4096
_FILE_BYTES = 1 << 30  # of one file that is written


def missing_off_linux() -> tuple[str, ...]:
    """Return the parts that systems other than Linux lack, for the user."""
    name = {"Darwin": "macOS"}.get(platform.system(), platform.system())
    return tuple(f"{part} ({name})" for part in ("no Landlock", NO_NETWORK, NO_PROCESSES))


def drop_rights(
    *,
    write: Sequence[Path],
    device: str,
    memory_limit: int | None,
    forks: bool = True,
) -> tuple[str, ...]:
    """Permanently drop the rights that training does not need.

    Call it in a single thread, before importing untrusted code.

    Args:
        write: Folders to read and write.
        device: The device of the training.
        memory_limit: Bytes of private memory beyond the current size, for this process and for each child separately. On a CPU
            only. The kernel does not count shared mappings, so also monitor the resident size.
        forks: False refuses new processes. Threads are always allowed.

    Returns:
        The parts that could not be enforced, for the user.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, _FILE_BYTES)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if not LINUX:
        return missing_off_linux()
    if memory_limit is not None and device == "cpu":
        _lower(resource.RLIMIT_DATA, memory_limit + _private_bytes())
    missing = []
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        missing.append(f"{threads} threads ran before rights were dropped")
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    landlock.restrict(write, device)
    code = seccomp.program(device, forks=forks)
    if code is not None:
        seccomp.install(code)
    if not capabilities.drop():
        missing.append("capabilities are kept")
    if _opens(landlock.standard_library() / "os.py"):
        missing.append(NO_FILES)
    if _reaches_network():
        missing.append(NO_NETWORK)
    return tuple(missing)


def _lower(limit: int, value: int) -> None:
    """Lower the soft and hard limit of a resource, but never raise them."""
    for present in resource.getrlimit(limit):
        value = value if present == resource.RLIM_INFINITY else min(value, present)
    resource.setrlimit(limit, (value, value))


def _private_bytes() -> int:
    """Return the private writable memory of this process in bytes, including untouched pages, as RLIMIT_DATA counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def _opens(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except FileNotFoundError:
        return landlock.abi() < 1
    except OSError:
        return False
    return True


def _reaches_network() -> bool:
    """Return whether this process can make an internet socket and sees a network device other than loopback."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM):
            pass
    except OSError:
        return False
    return not _alone()


def _alone() -> bool:
    """Return whether this process sees no network device but loopback, as in a new network namespace."""
    return {name for _, name in socket.if_nameindex()} <= {"lo"}
