"""The processes of a trainer, seen from outside: how much CPU time and memory they use, and how to end them all."""

from __future__ import annotations

import contextlib
import glob
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import psutil

SEARCH_S = 0.25
STOP_S = 0.03  # for processes to stop
MOST_THREADS = 64  # with more of them reading every process is faster
LISTED = os.path.exists("/proc/thread-self/children")


@dataclass(frozen=True)
class Usage:
    """CPU seconds so far (ended children included), resident bytes and number of processes now."""

    cpu_s: float
    rss: int
    count: int


@dataclass(frozen=True)
class Standstill:
    """Processes that were told to stop. `core`: where the first of them ran; None where they have not all stopped."""

    core: int | None
    pids: list[int]
    cpu_s: float  # what they had used when they had stopped, or were told to

    def ran_s(self) -> float:
        """CPU seconds that they used since."""
        with contextlib.suppress(OSError):
            return cpu_clock(self.pids) - self.cpu_s
        return 0.0  # they were ended meanwhile


def cpu_clock(pids: Iterable[int]) -> float:
    """CPU seconds of these processes, all threads, to the nanosecond (clock_getcpuclockid(3)). Linux only. Raises OSError."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


class Descendants:
    """A process and everything it started, also what moved away from under it."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._known: dict[tuple[int, float], psutil.Process] = {(pid, self._root.create_time()): self._root}
        self._own: dict[tuple[int, float], float] = {}
        self._reaped: dict[tuple[int, float], float] = {}
        self._namespace = self._namespaces()
        self._searched = 0.0

    def _namespaces(self) -> set[str]:
        """PID namespaces that are not our own, of the known processes."""
        own, found = _pid_namespace(os.getpid()), set()
        for process in self._known.values():
            name = _pid_namespace(process.pid)
            if name and name != own:
                found.add(name)
        return found

    def poll(self) -> Usage:
        """Look at the whole tree. A process that vanished counts with the most that was seen of it."""
        self._find()
        rss = count = 0
        living = 0.0
        for key, process in list(self._known.items()):
            try:
                with process.oneshot():
                    times, memory = process.cpu_times(), process.memory_info().rss
                    alive = process.status() != psutil.STATUS_ZOMBIE
            except psutil.Error:
                continue
            self._own[key] = max(self._own.get(key, 0.0), times.user + times.system)
            self._reaped[key] = max(self._reaped.get(key, 0.0), times.children_user + times.children_system)
            living += self._own[key] + self._reaped[key]
            rss += memory
            count += alive
        # An ended child is in its parent's sum when it was waited for, and only in what was seen of it when it was not.
        return Usage(max(living, sum(self._own.values())), rss, count)

    def proportional(self) -> int:
        """Bytes of memory of the whole tree, shared pages divided among those who share them. Where the kernel does not
        tell that of a process, its resident size. Takes some milliseconds for each gigabyte."""
        total = 0
        for process in list(self._known.values()):
            with contextlib.suppress(psutil.Error):
                share = _proportional(process.pid)
                total += process.memory_info().rss if share is None else share
        return total

    def _find(self, thorough: bool = False) -> None:
        """Children at each look; what moved away from under its parent by its namespace, which takes a walk over /proc."""
        found: list[psutil.Process] = []
        for process in list(self._known.values()):
            with contextlib.suppress(psutil.Error):
                found += process.children(recursive=True) if thorough else _children(process)
        if time.monotonic() - self._searched < SEARCH_S and not thorough:
            return self._take(found)
        self._searched = time.monotonic()
        self._namespace |= self._namespaces()
        if self._namespace:
            for pid in psutil.pids():
                if _pid_namespace(pid) in self._namespace:
                    with contextlib.suppress(psutil.Error):
                        found.append(psutil.Process(pid))
        self._take(found)

    def _take(self, found: list[psutil.Process]) -> None:
        for process in found:
            with contextlib.suppress(psutil.Error):
                self._known.setdefault((process.pid, process.create_time()), process)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[Standstill]:
        """Stop all but the first process, and let them go on at the end. They may take longer to stop than is waited for."""
        below = [process for process in self._known.values() if process is not self._root and _running(process)]
        try:
            for process in below:
                with contextlib.suppress(psutil.Error):
                    process.suspend()
            yield _standstill(below)
        finally:
            for process in below:
                with contextlib.suppress(psutil.Error):
                    process.resume()

    @property
    def pids(self) -> list[int]:
        return [pid for pid, _ in self._known]

    def kill_all(self, patience_s: float = 5.0) -> bool:
        """SIGKILL until none is left; False when some outlast the patience. Zombies of ours are reaped."""
        deadline = time.monotonic() + patience_s
        while True:
            self._find(thorough=True)
            living = [process for process in self._known.values() if _running(process)]
            for process in living:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if not living:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)


def _standstill(processes: list[psutil.Process]) -> Standstill:
    """Wait, for a little, until they stand still."""
    pids, used, deadline = [process.pid for process in processes], 0.0, time.monotonic() + STOP_S
    with contextlib.suppress(OSError, psutil.Error):  # one has ended
        used = cpu_clock(pids)
        while processes and time.monotonic() < deadline:
            if all(_stopped(pid) for pid in pids):
                return Standstill(processes[0].cpu_num(), pids, cpu_clock(pids))
    return Standstill(None, pids, used)


def _stopped(pid: int) -> bool:
    """Whether every thread of a process has stopped: each does so when it runs next. Raises OSError where it has ended."""
    for path in glob.iglob(f"/proc/{pid}/task/*/stat"):
        with open(path, "rb") as file:
            if file.read().rpartition(b")")[2].split(maxsplit=1)[0] != b"T":
                return False
    return True


def _running(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _children(process: psutil.Process) -> list[psutil.Process]:
    """All below it. Linux lists the children of each thread; psutil has to read every process of the machine.

    While another child ends a list may lack one: the next look has it.
    """
    if not LISTED:
        return list(process.children(recursive=True))
    if not process.is_running():  # its number may be another's by now
        return []
    pids = [process.pid]
    for pid in pids:  # it grows as children are found
        lists = list(islice(glob.iglob(f"/proc/{pid}/task/*/children"), MOST_THREADS + 1))
        if len(lists) > MOST_THREADS:
            return list(process.children(recursive=True))
        for path in lists:
            with contextlib.suppress(OSError):
                pids += [int(child) for child in Path(path).read_bytes().split()]
    found = []
    for pid in pids[1:]:
        with contextlib.suppress(psutil.Error):
            found.append(psutil.Process(pid))
    return found


def _proportional(pid: int) -> int | None:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _pid_namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


def set_subreaper() -> None:
    """Orphans below this process become its children, so that they can be found."""
    import ctypes

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def python(code: str, *arguments: str) -> list[str]:
    """The command line of a new Python that runs `code` with the same files of this package as this process."""
    package = sys.modules["nanochat"].__spec__
    command = getattr(package.loader if package else None, "command", ())  # of a run's own copy, see core/launch.py
    return [*(command or [sys.executable]), "-c", code, *arguments]


def temporary_folder() -> str | None:
    """The folder that TMPDIR names, made again where somebody removed it. None where that cannot be: then the system's serves."""
    named = os.environ.get("TMPDIR")
    with contextlib.suppress(OSError):
        if named:
            os.makedirs(named, exist_ok=True)
            return named if os.access(named, os.W_OK | os.X_OK) else None
    return None


def boot_minus_monotonic() -> float:
    """Grows by as much as the machine was suspended."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return time.time() - time.monotonic()
