"""What the trainer may do: read libraries and nothing of the user's, write to one folder, reach no network.

Linux only, by Landlock (kernel documentation: userspace-api/landlock), seccomp and namespaces; what a machine lacks is
returned in words and shown as `unprotected`.
"""

from __future__ import annotations

import ctypes
import functools
import json
import os
import platform
import resource
import signal
import site
import struct
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

LINUX = sys.platform == "linux"
_libc = ctypes.CDLL(None, use_errno=True)

# Landlock: system calls and rights (linux/landlock.h)
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_ALL_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_READ = _READ_FILE | _READ_DIR
_NET_BOTH, _SCOPE_BOTH = 3, 3  # bind and connect; abstract sockets and signals

# prctl and unshare (linux/prctl.h, linux/sched.h)
_PDEATHSIG, _DUMPABLE, _SECCOMP, _NO_NEW_PRIVS = 1, 4, 22, 38
_NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x08000000, 0x10000000, 0x20000000, 0x40000000


@dataclass(frozen=True)
class Sandbox:
    """What this machine can enforce."""

    landlock_abi: int
    pid_namespace: bool
    net_namespace: bool
    seccomp: bool

    @property
    def missing(self) -> tuple[str, ...]:
        """In words, for a human."""
        if not LINUX:
            return (f"no sandbox on {platform.system()}",)
        words = []
        if self.landlock_abi < 1:
            words.append("no Landlock (files)")
        if not (self.net_namespace or self.seccomp):
            words.append("no network barrier")
        if not self.pid_namespace:
            words.append("no process namespace")
        return tuple(words)


def landlock_abi() -> int:
    """The kernel's Landlock version, 0 without it."""
    if not LINUX:
        return 0
    return max(0, int(_libc.syscall(_CREATE, None, ctypes.c_size_t(0), 1)))


def probe() -> Sandbox:
    """Try it all in a short-lived child."""
    if not LINUX:
        return Sandbox(0, False, False, False)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            missing = enter_namespaces()
            found = Sandbox(landlock_abi(), "pid" not in missing, "net" not in missing, _bpf() is not None)
            os.write(writer, json.dumps(asdict(found)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return Sandbox(**json.loads(text)) if text else Sandbox(landlock_abi(), False, False, False)


def enter_namespaces() -> tuple[str, ...]:
    """Leave the machine's process, network and IPC namespaces, in a single-threaded process; children go along.

    Without root a user namespace is entered first. Returns the short names of what could not be had.
    """
    if not LINUX:
        return ("pid", "net", "ipc")
    if os.geteuid() != 0:
        uid, gid = os.geteuid(), os.getegid()
        if _libc.unshare(_NEWUSER) != 0:
            return ("pid", "net", "ipc")
        try:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        except OSError:
            return ("pid", "net", "ipc")
    return tuple(
        name for name, flag in (("pid", _NEWPID), ("net", _NEWNET), ("ipc", _NEWIPC)) if _libc.unshare(flag) != 0
    )


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Be sent a signal when the parent ends."""
    if LINUX:
        _libc.prctl(_PDEATHSIG, number, 0, 0, 0)


def dumpable(yes: bool) -> None:
    """Whether others of the same user may trace this process or read its memory (and it may map its user ids)."""
    if LINUX:
        _libc.prctl(_DUMPABLE, int(yes), 0, 0, 0)


def drop_rights(
    *, write: Sequence[Path], device: str, memory_limit: int | None, file_limit: int = 1 << 30
) -> tuple[str, ...]:
    """Give up everything that training does not need; for good. Returns what could not be enforced, in words."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    if not LINUX:
        return (f"no sandbox on {platform.system()}",)
    if memory_limit is not None and device == "cpu":
        limit = memory_limit + _data_now()  # what is mapped already is shared with the parent and not the trainer's
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    _libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    missing = []
    if not _landlock(write, device):
        missing.append("no Landlock (files)")
    if not _seccomp():
        missing.append("no network barrier by seccomp")
    return tuple(missing)


def _data_now() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


# -- files ------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=2)
def readable(device: str) -> tuple[tuple[Path, int], ...]:
    """Paths and the rights on them: libraries and compiled modules, never the standard library's sources."""
    rules: list[tuple[Path, int]] = []
    stdlib = Path(sysconfig.get_paths()["stdlib"]).resolve()
    for folder, names, _ in os.walk(stdlib):
        names[:] = [name for name in names if name not in ("site-packages", "dist-packages")]
        rules.append((Path(folder), _READ if Path(folder).name in ("__pycache__", "lib-dynload") else _READ_DIR))
    packages = {*site.getsitepackages(), sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]}
    extra = _EXECUTE if device == "cuda" else 0  # compilers and assemblers for torch.compile
    rules += [(Path(folder).resolve(), _READ | extra) for folder in packages]
    for top in ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", str(Path(sys.base_prefix) / "lib")):
        rules += [(child, _READ | extra) for child in _children(Path(top)) if not child.name.startswith("python")]
    for name in ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random"):
        rules.append((Path(name), _READ_FILE | _WRITE_FILE))
    rules += [
        (Path(name), _READ_FILE) for name in ("/etc/ld.so.cache", "/etc/localtime", "/proc/cpuinfo", "/proc/meminfo")
    ]
    rules.append((Path("/sys/devices/system"), _READ))
    if device == "cuda":
        rules += [(path, _READ_FILE | _WRITE_FILE) for path in Path("/dev").glob("nvidia*") if not path.is_dir()]
        rules += [(Path(name), _READ) for name in ("/proc", "/sys")]
        for name in ("/bin", "/usr/bin", "/usr/local/bin", "/usr/local/cuda", "/usr/include"):
            rules.append((Path(name), _READ | _EXECUTE))
    return tuple(rules)


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.resolve().iterdir())
    except OSError:
        return []


def _landlock(write: Sequence[Path], device: str) -> bool:
    abi = landlock_abi()
    if abi < 1:
        return False
    everything = _ALL_RIGHTS[min(abi, 5)]
    # struct landlock_ruleset_attr: handled_access_fs, handled_access_net (abi 4), scoped (abi 6)
    attributes = struct.pack("<QQQ", everything, _NET_BOTH if abi >= 4 else 0, _SCOPE_BOTH if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _libc.syscall(_CREATE, attributes, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    try:
        for path, rights in readable(device):
            _allow(ruleset, path, rights & everything)
        for path in write:
            _allow(ruleset, path, everything & ~_EXECUTE if device == "cpu" else everything)
        return bool(_libc.syscall(_RESTRICT, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _EXECUTE | _WRITE_FILE | _READ_FILE
        # struct landlock_path_beneath_attr is packed: allowed_access, parent_fd
        _libc.syscall(_ADD, ruleset, 1, struct.pack("<Qi", rights, handle), 0)
    finally:
        os.close(handle)


# -- system calls -----------------------------------------------------------------------------------------------------

_ARCHES = {  # audit architecture, then the numbers of the calls that are refused
    "x86_64": (0xC000003E, {"socket": 41, "ptrace": 101, "mount": 165, "umount2": 166, "unshare": 272, "setns": 308,
                            "process_vm_readv": 310, "process_vm_writev": 311, "bpf": 321, "io_uring_setup": 425}),
    "aarch64": (0xC00000B7, {"socket": 198, "ptrace": 117, "mount": 40, "umount2": 39, "unshare": 97, "setns": 268,
                             "process_vm_readv": 270, "process_vm_writev": 271, "bpf": 280, "io_uring_setup": 425}),
}  # fmt: skip
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # classic BPF: ld abs, jeq, jge, ret
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000  # refuse = errno EPERM
_AF_UNIX, _X32 = 1, 0x40000000


def _bpf() -> bytes | None:
    """A filter that refuses sockets other than Unix ones, tracing, mounting and new namespaces; None elsewhere."""
    if platform.machine() not in _ARCHES:
        return None
    arch, calls = _ARCHES[platform.machine()]
    numbers = [number for name, number in calls.items() if name != "socket"]
    program = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, arch), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    program += [(_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _REFUSE)]
    for number in numbers:
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _REFUSE)]
    program += [(_EQUAL, 0, 3, calls["socket"]), (_LOAD, 0, 0, 16), (_EQUAL, 1, 0, _AF_UNIX), (_RETURN, 0, 0, _REFUSE)]
    program += [(_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("<HBBI", *line) for line in program)


def _seccomp() -> bool:
    code = _bpf()
    if code is None:
        return False
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("<HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))  # struct sock_fprog
    return bool(_libc.prctl(_SECCOMP, 2, header, 0, 0) == 0)


def preload() -> None:
    """Import what train.py is likely to need, before sources become unreadable."""
    import importlib

    for name in ("math", "random", "json", "dataclasses", "typing", "collections", "functools", "contextlib", "itertools",
                 "traceback", "linecache", "inspect", "time", "warnings", "copy", "enum", "abc", "statistics", "bisect",
                 "heapq", "threading", "queue", "string", "re", "types", "weakref", "operator", "textwrap"):  # fmt: skip
        importlib.import_module(name)
    if LINUX:
        readable("cpu")  # walk the library's folders once


if __name__ == "__main__":
    found = probe()
    print(json.dumps({**asdict(found), "missing": list(found.missing)}))
