"""What the trainer may do: read libraries and nothing of the user's, write to one folder, reach nobody.

Linux only, by namespaces (namespaces.py), Landlock (landlock.py), a filter of system calls (seccomp.py), limits and no
capabilities. What a machine lacks is returned in words and shown as `unprotected`.
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


def missing_off_linux() -> tuple[str, ...]:
    """What another system than Linux lacks, in words."""
    name = {"Darwin": "macOS"}.get(platform.system(), platform.system())
    return tuple(f"{part} ({name})" for part in ("no Landlock", NO_NETWORK, NO_PROCESSES))


def drop_rights(
    *,
    write: Sequence[Path],
    read: Sequence[Path] = (),
    device: str,
    memory_limit: int | None,
    file_limit: int = 1 << 30,
    forks: bool = True,
) -> tuple[str, ...]:
    """Give up everything that training does not need, for good. Returns what could not be enforced, in words.

    Call it in a single thread, before any untrusted code is imported. `write` are folders to read and write in, `read`
    further ones to read. `memory_limit`, on a CPU only: bytes of private memory beyond what this process has mapped now,
    for it and each of its children by itself (shared mappings are not counted by the kernel: watch the resident size too).
    `file_limit` bytes is the most that one file may have. `forks=False` refuses new processes; threads stay possible.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_FSIZE, file_limit)
    _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    if not LINUX:
        return missing_off_linux()
    if memory_limit is not None and device == "cpu":
        _lower(resource.RLIMIT_DATA, memory_limit + _private_bytes())
    missing = []
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        missing.append(f"{threads} threads ran before rights were dropped")
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    landlock.restrict(read, write, device)
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
    """Lower a limit, soft and hard; never raise it."""
    for present in resource.getrlimit(limit):
        value = value if present == resource.RLIM_INFINITY else min(value, present)
    resource.setrlimit(limit, (value, value))


def _private_bytes() -> int:
    """Private writable memory of this process, mapped whether touched or not: what RLIMIT_DATA counts."""
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
    """Whether a datagram to the world has a way out: neither refused nor without a route."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM):
            pass
    except OSError:
        return False
    return not _alone()


def _alone() -> bool:
    """Whether this process sees no network device that is up but for none at all: an empty network namespace."""
    return {name for _, name in socket.if_nameindex()} <= {"lo"}
