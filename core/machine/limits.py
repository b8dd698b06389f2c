"""What of the machine's memory and processors this process may use: control groups of both versions, nested ones too, and ulimit.

A container, a service of systemd, a batch system or a login session puts a process into a control group. The limits of all groups
around it count as well as its own. `root` is the root of the file system; tests lay out another one.
"""

from __future__ import annotations

import contextlib
import re
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
PRESSED = 20.0  # percent of the last ten seconds in which something waited for memory


@dataclass(frozen=True)
class _Mount:
    """A hierarchy of control groups: what is shown at `folder` is the group `group` and those inside of it."""

    folder: Path
    group: str
    controllers: frozenset[str]  # empty for version 2, which has them all


def memory(root: Path = ROOT) -> int | None:
    """Bytes of memory that this process and its children may use by its control groups and ulimit; None for no limit.

    `memory.high` counts too: what goes beyond it is slowed down to a crawl.
    """
    found = [value for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA) if (value := resource.getrlimit(kind)[0]) > 0]
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            found += [value for word in _words(folder / name)[:1] if (value := _number(word)) > 0]
        found += [value for value in [_entry(folder / "memory.stat", "hierarchical_memory_limit")] if value > 0]
    return min(found, default=None)


def cpus(root: Path = ROOT) -> float | None:
    """Processors' worth of time that the control groups grant; None for no limit."""
    found = []
    for folder in _groups(root, "cpu"):
        words = _words(folder / "cpu.max") or [
            word for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us") for word in _words(folder / name)[:1]
        ]
        quota, period = (_number(word) for word in words) if len(words) == 2 else (0, 0)
        if quota > 0 and period > 0:
            found.append(quota / period)
    return min(found, default=None)


def oom_kills(root: Path = ROOT) -> int:
    """A count that rises whenever the kernel ends a process for lack of memory, here or on the whole machine."""
    counts = [_entry(root / "proc/vmstat", "oom_kill")]
    for folder in _groups(root, "memory"):
        counts += [_entry(folder / name, "oom_kill") for name in ("memory.events", "memory.oom_control")]
    return sum(max(0, count) for count in counts)


def pressed(root: Path = ROOT) -> bool:
    """Whether processes have waited for memory lately, as they do before a program such as earlyoom or systemd-oomd ends one."""
    shares = []
    for path in (root / "proc/pressure/memory", *(folder / "memory.pressure" for folder in _groups(root, "memory"))):
        for word in _words(path):
            with contextlib.suppress(ValueError):
                if word.startswith("avg10="):
                    shares.append(float(word.removeprefix("avg10=")))
    return max(shares, default=0.0) >= PRESSED


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of the groups that this process is in, the innermost first, as far up as they can be seen."""
    mine: dict[str, str] = {}  # controller, '' for version 2 -> group
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
        if ".." in parts:  # outside of what is shown
            parts = []
        for length in range(len(parts), -1, -1):
            yield mount.folder.joinpath(*parts[:length])


def _mounts(root: Path) -> list[_Mount]:
    """The hierarchies that are mounted; where that cannot be read, the one that is usual."""
    found = []
    for line in _text(root / "proc/self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) < 6 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        group, folder = (re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), text) for text in fields[3:5])
        controllers = frozenset(kind[2].split(",")) if kind[0] == "cgroup" else frozenset()
        found.append(_Mount(root / folder.lstrip("/"), group, controllers))
    return found or [_Mount(root / "sys/fs/cgroup", "/", frozenset())]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _words(path: Path) -> list[str]:
    return _text(path).split()


def _entry(path: Path, name: str) -> int:
    """The number in the line that begins with `name`; 0 where there is none."""
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) == 2 and words[0] == name:
            return _number(words[1])
    return 0


def _number(word: str) -> int:
    """0 for `max` and whatever else is no number."""
    try:
        return int(word)
    except ValueError:
        return 0
