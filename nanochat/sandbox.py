"""What the trainer may do: read libraries and nothing of the user's, write to one folder, reach nobody.

Linux only, by namespaces, Landlock (landlock.py), a filter of system calls (seccomp.py), limits and no capabilities. What
a machine lacks is returned in words and shown as `unprotected`. `python -m nanochat.sandbox --json` tells what works here.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import linecache
import os
import platform
import resource
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nanochat import compiler, landlock, seccomp

LINUX = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True)

# linux/prctl.h, linux/sched.h, linux/capability.h, linux/mount.h
_PDEATHSIG, _DUMPABLE, _NO_NEW_PRIVS = 1, 4, 38
_NEWUSER = 0x10000000
_NAMESPACES = {"pid": 0x20000000, "net": 0x40000000, "ipc": 0x08000000}
_CAPABILITY_VERSION_3 = 0x20080522
_NEW_MOUNTS, _REC, _SLAVE = 0x20000, 0x4000, 1 << 19
_NO_SUID, _NO_DEV, _NO_EXEC = 2, 4, 8
_OPEN_FILES = 4096
SHARED_MEMORY = Path("/dev/shm")
_SHARED_MEMORY_SIZE = b"size=64m,nr_inodes=4096,mode=0700"

NO_FILES, NO_NETWORK, NO_PROCESSES = "no Landlock (files)", "no network barrier", "no process namespace"


@dataclass(frozen=True)
class Sandbox:
    """What this machine can enforce. Each part was tried, not looked up."""

    landlock_abi: int
    pid_namespace: bool
    net_namespace: bool
    ipc_namespace: bool
    seccomp: bool
    capabilities: bool  # whether they can be given up
    failed: tuple[str, ...] = ()  # what drop_rights itself found missing

    @property
    def missing(self) -> tuple[str, ...]:
        """In words, for a human; empty when everything works."""
        if not LINUX:
            name = {"Darwin": "macOS"}.get(platform.system(), platform.system())
            return tuple(f"{part} ({name})" for part in ("no Landlock", NO_NETWORK, NO_PROCESSES))
        words = list(self.failed)
        if not self.pid_namespace:
            words.append(NO_PROCESSES)
        return tuple(dict.fromkeys(words))


NOTHING = Sandbox(0, False, False, False, False, False)


def probe() -> Sandbox:
    """Try it all in short-lived children; the caller keeps every right. Never raises for what a machine lacks."""
    if not LINUX:
        return NOTHING
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            dumpable(True)
            lacking = enter_namespaces()
            if os.fork() == 0:
                found = drop_rights(write=[], device="cpu", memory_limit=None)
                pid = "pid" not in lacking and os.getpid() == 1
                parts = Sandbox(
                    landlock.abi(), pid, "net" not in lacking, "ipc" not in lacking, seccomp.program("cpu") is not None,
                    _capabilities() == 0, found,
                )  # fmt: skip
                os.write(writer, json.dumps(asdict(parts)).encode())
            else:
                os.close(writer)
                os.wait()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    if not text:
        return Sandbox(0, False, False, False, False, False, (NO_FILES, NO_NETWORK))
    values = json.loads(text)
    return Sandbox(**{**values, "failed": tuple(values["failed"])})


# -- the warden -------------------------------------------------------------------------------------------------------


def enter_namespaces() -> tuple[str, ...]:
    """Leave the machine's process, network and IPC namespaces: for children, in the case of processes.

    Needs a single thread, and `dumpable` where a user namespace is wanted: without root one is entered along with the
    others, all in one step, so that a refusal changes nothing. Returns the short names of what could not be had.
    """
    if not LINUX:
        return tuple(_NAMESPACES)
    uid, gid = os.geteuid(), os.getegid()
    everything = sum(_NAMESPACES.values())
    if _libc.unshare(everything) == 0:
        return ()
    if _libc.unshare(_NEWUSER | everything) == 0:
        _map_user(uid, gid)
        return ()
    missing = []
    user = 0
    for name, flag in _NAMESPACES.items():
        if _libc.unshare(flag) == 0:
            continue
        if user or _libc.unshare(_NEWUSER | flag) != 0:
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
    if not LINUX or _libc.unshare(_NEW_MOUNTS) != 0:
        return False
    if _libc.mount(None, b"/", None, _REC | _SLAVE, None) != 0:  # else the machine would see the new mount
        return False
    flags = _NO_SUID | _NO_DEV | _NO_EXEC
    return bool(_libc.mount(b"tmpfs", bytes(SHARED_MEMORY), b"tmpfs", flags, _SHARED_MEMORY_SIZE) == 0)


def _map_user(uid: int, gid: int) -> None:
    """Keep one's own number in the new user namespace. Where that is refused, files are still one's own."""
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            Path("/proc/self", name).write_text(text)
        except OSError:
            return


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Be sent a signal when the parent ends. Not inherited by children; the parent may have ended already."""
    if LINUX:
        _libc.prctl(_PDEATHSIG, number, 0, 0, 0)


def dumpable(yes: bool) -> None:
    """Whether others of the same user may trace this process or read its memory (and it may map its user ids)."""
    if LINUX:
        _libc.prctl(_DUMPABLE, int(yes), 0, 0, 0)


# -- the trainer ------------------------------------------------------------------------------------------------------


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
        return NOTHING.missing
    if memory_limit is not None and device == "cpu":
        _lower(resource.RLIMIT_DATA, memory_limit + _private_bytes())
    missing = []
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        missing.append(f"{threads} threads ran before rights were dropped")
    _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    landlock.restrict(read, write, device)
    code = seccomp.program(device, forks=forks)
    if code is not None:
        seccomp.install(code)
    if not _drop_capabilities():
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


def _drop_capabilities() -> bool:
    """Root without capabilities is an ordinary user: raw disks, other users' processes and clocks are out of reach."""
    header = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    return bool(_libc.capset(header, bytes(24)) == 0)


def _capabilities() -> int:
    """The effective set of this thread, as bits."""
    header, sets = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0), ctypes.create_string_buffer(24)
    if _libc.capget(header, sets) != 0:
        return -1
    low, _, _, high, _, _ = struct.unpack("<6I", sets.raw)
    return int(low | high << 32)


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


# -- the nursery ------------------------------------------------------------------------------------------------------

_LIKELY = (
    "abc", "array", "bisect", "collections.abc", "contextlib", "copy", "ctypes", "dataclasses", "datetime", "enum", "fractions",
    "functools", "gc", "glob", "heapq", "inspect", "io", "itertools", "json", "linecache", "logging", "math", "numbers",
    "operator", "os", "pathlib", "pprint", "queue", "random", "re", "shutil", "signal", "statistics", "string", "struct",
    "subprocess", "tempfile", "textwrap", "threading", "time", "traceback", "types", "typing", "uuid", "warnings", "weakref",
)  # fmt: skip
_LATE = ("torch._dynamo", "torch.optim", "torch.nn.utils.parametrize")  # what torch itself imports when it is used


def preload(device: str = "cpu") -> None:
    """Import what train.py is likely to need, once, before any trainer is forked.

    On a GPU that includes the compiler. Where the interpreter keeps no compiled modules (some container images), their
    sources could not be compiled later: then all that torch may still import is imported now, which takes a second or
    two. No fresh interpreter can start in the sandbox of such a machine, so kernels are compiled in the trainer itself.
    """
    for name in _LIKELY:
        importlib.import_module(name)
    if not LINUX:
        return
    compiled = all(_compiled(name) for name in ("dis", "cProfile", "sched", "unittest"))
    if device == "cuda":
        compiler.preload()
        if not compiled:
            compiler.compile_in_process()
    elif not compiled:
        for name in _LATE:
            importlib.import_module(name)
    linecache.clearcache()  # lines of sources that a warning or a traceback has shown


def _compiled(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is None or spec.cached is None or Path(spec.cached).exists()


def main() -> None:
    """Print as JSON what this machine can enforce."""
    found = probe()
    print(json.dumps({**asdict(found), "missing": list(found.missing)}))


if __name__ == "__main__":
    main()
