"""Restrict file access with Landlock. Names and numbers are those of linux/landlock.h.

Documented in the kernel's userspace-api/landlock. Rights that a kernel does not support are masked by its ABI version (1 to 9).
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import site
import struct
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from nanochat.sandbox.libc import LINUX, libc

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR, MAKE_REG = (
    1 << i for i in range(9)
)
MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM, REFER, TRUNCATE, IOCTL_DEV, RESOLVE_UNIX = (1 << i for i in range(9, 17))
READ = READ_FILE | READ_DIR
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # the only rights that a rule on a file may have
_SCRATCH = (
    READ
    | WRITE_FILE
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_DIR
    | MAKE_REG
    | MAKE_SOCK
    | MAKE_FIFO
    | MAKE_SYM
    | REFER
    | TRUNCATE
)  # no device nodes, since a raw disk contains every file, and no execution of programs

_NET_SINCE, _SCOPE_SINCE, _LOG_SINCE, _THREADS_SINCE = 4, 6, 7, 8
_BIND_AND_CONNECT_TCP, _ABSTRACT_SOCKETS_AND_SIGNALS = 3, 3
_LOG_OFF, _ALL_THREADS = 1, 8  # no log, so that refused accesses do not flood the machine's audit log

# Subfolders of library folders that contain shared libraries and related files. Others may contain anything, such as programs
# with their own Python.
_LIBRARY_FOLDERS = re.compile(r".+-linux-\w+|locale|wsl|nvidia.*")
_TOOL_FOLDERS = re.compile(r"gcc.*|llvm.*|clang.*|cuda.*|bfd-plugins|ldscripts")
_NO_PACKAGES = ("pip", "setuptools", "_distutils_hack")  # they contain copies of standard library modules
_COMPILED_PACKAGES = ("setuptools", "_distutils_hack")  # torch.compile needs their compiled modules
PROGRAMS = ("/usr/bin", "/bin", "/usr/local/bin")  # for a trainer on a GPU: compilers, assemblers, linkers

Rule = tuple[Path, int]


def abi() -> int:
    """Return the kernel's Landlock ABI version; 0 if Landlock is missing or disabled."""
    if not LINUX:
        return 0
    return max(0, int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)))


def handled(version: int) -> int:
    """Return the set of file access rights that this version supports."""
    bits = 13 if version < 2 else 14 if version < 3 else 15 if version < 5 else 16 if version < 9 else 17
    return (1 << bits) - 1


def restrict(write: Sequence[Path], device: str) -> bool:
    """Permanently restrict the file access of this thread and of the threads and processes it starts. Needs NO_NEW_PRIVS.

    From version 4 on TCP is refused. From version 6 on signals and abstract sockets cannot leave the sandbox.

    Args:
        write: Folders to read and write, besides what `readable` and `own` allow.
        device: The device of the training.

    Returns:
        Whether that worked. If not, nothing has changed.
    """
    version = abi()
    if version < 1:
        return False
    known = handled(version)
    net = _BIND_AND_CONNECT_TCP if version >= _NET_SINCE else 0
    scope = _ABSTRACT_SOCKETS_AND_SIGNALS if version >= _SCOPE_SINCE else 0
    attributes = struct.pack("<QQQ", known, net, scope)  # struct landlock_ruleset_attr
    size = 24 if scope else 16 if net else 8
    ruleset = libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return False
    try:
        for path, rights in (*readable(device), *own(device)):
            _allow(ruleset, path, rights & known)
        for path in write:
            _allow(ruleset, path, _SCRATCH & known)
        flags = _LOG_OFF * (version >= _LOG_SINCE) | _ALL_THREADS * (version >= _THREADS_SINCE)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, flags) == 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    """Add a rule. Does nothing if the path does not exist."""
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        # struct landlock_path_beneath_attr, which is packed: allowed_access, parent_fd
        rule = struct.pack("<Qi", rights, handle)
        if libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0) != 0:  # EINVAL for a file with a folder's rights
            rule = struct.pack("<Qi", rights & _OF_FILES, handle)
            libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(handle)


# -- paths that training needs ----------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4)
def readable(device: str) -> tuple[Rule, ...]:
    """Return readable paths and the rights on them: libraries and compiled modules, but no source of the standard library.

    The first call walks the library folders (about 30 ms). The result is cached, also for forked children.
    """
    gpu = device != "cpu"
    library = READ | (EXECUTE if gpu else 0)  # compilers and assemblers for torch.compile
    rules: dict[Path, int] = {}
    for path, rights in (
        *_standard_library(),
        *((path, library) for path in _packages()),
        *((path, READ_DIR) for path in package_folders()),  # the import system lists them
        *(_compiled_packages() if gpu else ()),
        *((path, library) for path in _shared_libraries(gpu)),
        *((Path(name), READ_FILE) for name in ("/dev/zero", "/dev/random", "/dev/urandom", "/etc/ld.so.cache", "/etc/localtime")),
        *((Path(name), READ_FILE) for name in ("/proc/cpuinfo", "/proc/meminfo")),
        (Path("/dev/null"), READ_FILE | WRITE_FILE),
        (Path("/sys/devices/system"), READ),
        *(_gpu() if gpu else ()),
    ):  # fmt: skip
        rules[path] = rules.get(path, 0) | rights
    return tuple((path, rights) for path, rights in rules.items() if not _covered(path, rights, rules))


def _covered(path: Path, rights: int, rules: dict[Path, int]) -> bool:
    """Return whether a rule on a parent folder gives the same rights."""
    return any(not rights & ~rules.get(above, 0) for above in path.parents)


def own(device: str) -> list[Rule]:
    """Return rules that differ between processes. A GPU driver writes names of its threads to files of /proc/self."""
    return [(Path("/proc/self"), READ | WRITE_FILE | TRUNCATE)] if device != "cpu" else []


def standard_library() -> Path:
    """Return the folder of the standard library, with links resolved."""
    return Path(sysconfig.get_paths()["stdlib"]).resolve()


def _standard_library() -> Iterator[Rule]:
    """Yield rules to list every folder and to read compiled modules only, which is enough for imports."""
    stdlib = standard_library()
    yield stdlib, READ_DIR
    for folder, names, _ in os.walk(stdlib):
        names[:] = [name for name in names if name not in ("site-packages", "dist-packages")]
        if Path(folder).name in ("__pycache__", "lib-dynload"):
            yield Path(folder), READ


def package_folders() -> set[Path]:
    """Return the folders with installed packages, with links resolved."""
    paths = sysconfig.get_paths()
    folders = {*site.getsitepackages(), paths["purelib"], paths["platlib"]}
    folders |= {path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")}
    return {Path(path).resolve() for path in folders}


def _packages() -> Iterator[Path]:
    for folder in package_folders():
        yield from (child for child in _children(folder) if not child.name.startswith(_NO_PACKAGES))


def _compiled_packages() -> Iterator[Rule]:
    """Yield rules for packages whose sources stay unreadable: their compiled modules, and text files read on import."""
    for folder in package_folders():
        for name in _COMPILED_PACKAGES:
            yield from ((path, READ) for path in (folder / name).rglob("__pycache__"))
            yield from ((path, READ_FILE) for path in (folder / name).rglob("*.txt"))


def _shared_libraries(gpu: bool) -> Iterator[Path]:
    """Yield shared libraries in the library folders, and their known subfolders."""
    tops = {Path(name) for name in ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64")}
    tops |= {Path(sys.base_prefix) / "lib", Path(sys.prefix) / "lib", *_mapped()}
    tops |= {Path(name) for name in os.environ.get("LD_LIBRARY_PATH", "").split(":") if name.startswith("/")}
    for top in {path.resolve() for path in tops}:
        for child in _children(top):
            if ".so" in child.name or (_is_for_libraries(child.name, gpu) and not _holds_python(child)):
                yield child
    if gpu:
        yield from (Path(name) for name in ("/usr/libexec/gcc", "/run/opengl-driver"))


def _is_for_libraries(name: str, gpu: bool) -> bool:
    return bool(_LIBRARY_FOLDERS.fullmatch(name) or (gpu and _TOOL_FOLDERS.fullmatch(name)))


def _mapped() -> set[Path]:
    """Return the folders of the loaded libraries, since some systems keep them in unusual places."""
    try:
        lines = Path("/proc/self/maps").read_text(errors="replace").splitlines()
    except OSError:
        return set()
    files = {line.split(maxsplit=5)[5] for line in lines if ".so" in line and "/" in line}
    return {Path(name).parent for name in files if "-packages/" not in name and "lib-dynload" not in name}


def _holds_python(folder: Path) -> bool:
    """Return whether a folder contains a standard library of Python."""
    return any(
        next(folder.glob(pattern), None) for pattern in ("os.py", "*/os.py", "lib/python*/os.py", "*/lib/python*/os.py")
    )


def _gpu() -> Iterator[Rule]:
    """Yield rules for a GPU: device nodes, files that the driver reads, and programs that torch.compile starts."""
    device = READ | WRITE_FILE | IOCTL_DEV
    for pattern in ("nvidia*", "nvidia-caps", "dxg", "kfd", "dri"):
        yield from ((path, device) for path in Path("/dev").glob(pattern))
    yield from (
        (Path(name), READ) for name in ("/proc", "/sys", "/usr/include", "/etc/ld.so.conf", "/etc/ld.so.conf.d")
    )
    yield from ((Path(name), READ | EXECUTE) for name in PROGRAMS)
    # Triton finds libcuda by `/sbin/ldconfig -p`. On Ubuntu that is a script that starts ldconfig.real.
    yield from ((Path(name), READ_FILE | EXECUTE) for name in ("/sbin/ldconfig", "/sbin/ldconfig.real"))
    toolkits = ("/usr/local/cuda", os.environ.get("CUDA_HOME", ""), os.environ.get("CUDA_PATH", ""))
    for toolkit in (Path(name) for name in toolkits if name.startswith("/")):
        for name in ("bin", "include", "lib", "lib64", "nvvm", "targets"):
            yield (toolkit / name).resolve(), READ | EXECUTE
    yield Path(sys.executable).resolve(), READ_FILE | EXECUTE
    yield Path(sys.prefix) / "pyvenv.cfg", READ_FILE
    yield from ((Path(sysconfig.get_paths()[name]).resolve(), READ) for name in ("include", "platinclude"))


def _children(folder: Path) -> Iterable[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
