"""The memory and processors that this process may use, by control groups (v1 and v2, also nested) and ulimit.

Containers, systemd services, batch systems and login sessions put processes into control groups. The limits of all outer groups
apply too. `root` is the root of the file system, which tests replace.
"""

from __future__ import annotations

import contextlib
import re
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
RAM_SHARE = 0.8  # share of a machine's memory for all trainers together
PRESSED = 20.0  # percent of the last ten seconds in which processes waited for memory


@dataclass(frozen=True)
class _Mount:
    """A mounted hierarchy of control groups. `folder` shows the group `group` and the groups inside of it."""

    folder: Path
    group: str
    controllers: frozenset[str]  # empty for version 2, which has all controllers


def memory(root: Path = ROOT) -> int | None:
    """Return the bytes of memory that this process and its children may use by control groups and ulimit; None for no limit.

    `memory.high` counts as a limit too, since processes above it become very slow.
    """
    limits = [
        value for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA) if (value := resource.getrlimit(kind)[0]) > 0
    ]
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            limits += [value for word in _words(folder / name)[:1] if (value := _number(word)) > 0]
        limits += [value for value in [_entry(folder / "memory.stat", "hierarchical_memory_limit")] if value > 0]
    return min(limits, default=None)


def cpus(root: Path = ROOT) -> float | None:
    """Return the number of processors that control groups allow, possibly a fraction; None for no limit."""
    limits = []
    for folder in _groups(root, "cpu"):
        words = _words(folder / "cpu.max") or [
            word for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us") for word in _words(folder / name)[:1]
        ]
        quota, period = (_number(word) for word in words) if len(words) == 2 else (0, 0)
        if quota > 0 and period > 0:
            limits.append(quota / period)
    return min(limits, default=None)


def oom_kills(root: Path = ROOT) -> int:
    """Return a counter that increases when the kernel kills a process for lack of memory, here or on the whole machine."""
    counts = [_entry(root / "proc/vmstat", "oom_kill")]
    for folder in _groups(root, "memory"):
        counts += [_entry(folder / name, "oom_kill") for name in ("memory.events", "memory.oom_control")]
    return sum(max(0, count) for count in counts)


def pressed(root: Path = ROOT) -> bool:
    """Return whether processes waited for memory recently. They do before earlyoom or systemd-oomd kills one."""
    shares = []
    for path in (root / "proc/pressure/memory", *(folder / "memory.pressure" for folder in _groups(root, "memory"))):
        for word in _words(path):
            with contextlib.suppress(ValueError):
                if word.startswith("avg10="):
                    shares.append(float(word.removeprefix("avg10=")))
    return max(shares, default=0.0) >= PRESSED


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the visible groups that contain this process, the innermost first."""
    mine: dict[str, str] = {}  # controller ('' for version 2) -> group
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        names, _, group = rest.partition(":")
        if number:
            mine |= dict.fromkeys(names.split(","), group.removesuffix(" (deleted)"))
    for mount in _mounts(root):
        kind = controller if mount.controllers else ""
        if kind not in mine or (kind and kind not in mount.controllers):
            continue
        base = mount.group.rstrip("/")
        inside = mine[kind].removeprefix(base) if f"{mine[kind]}/".startswith(f"{base}/") else ""
        parts = [part for part in inside.split("/") if part]
        if ".." in parts:  # the group is outside of the mounted part
            parts = []
        for length in range(len(parts), -1, -1):
            yield mount.folder.joinpath(*parts[:length])


def _mounts(root: Path) -> list[_Mount]:
    """Return the mounted hierarchies, or the usual one if they cannot be read."""
    mounts = []
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        group, folder = (re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), text) for text in fields[3:5])
        controllers = frozenset(kind[2].split(",")) if kind[0] == "cgroup" else frozenset()
        mounts.append(_Mount(root / folder.lstrip("/"), group, controllers))
    return mounts or [_Mount(root / "sys/fs/cgroup", "/", frozenset())]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _words(path: Path) -> list[str]:
    return _text(path).split()


def _entry(path: Path, name: str) -> int:
    """Return the number in the line that begins with `name`, or 0."""
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == name:
            return _number(words[1])
    return 0


def _number(word: str) -> int:
    """Return the number, or 0 for `max` and other text."""
    try:
        return int(word)
    except ValueError:
        return 0
