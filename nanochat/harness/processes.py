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

from nanochat.sandbox.libc import stop_thread

SEARCH_S = 0.25
STOP_S = 0.03  # for processes to stop
# States of threads that do not run in user mode: stopped; in the kernel, and stopped when they return; ended.
STOPPED = frozenset("TtDZX")
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
    """Processes that were told to stop. `core`: where their busiest thread ran; None where they have not all stopped."""

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
        self._worked: dict[int, int] = {}  # ticks of each thread at the last standstill

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
        below = [process for process in self._below() if process.is_running()]
        try:
            for process in below:
                with contextlib.suppress(psutil.Error):
                    _stop(process)
            yield self._standstill([process.pid for process in below])
        finally:
            for process in below:
                with contextlib.suppress(psutil.Error):
                    process.resume()

    def _below(self) -> list[psutil.Process]:
        return [process for process in self._known.values() if process is not self._root]

    def _standstill(self, pids: list[int]) -> Standstill:
        """Wait up to STOP_S until they stand still. The core is that of the thread that worked most since the last standstill."""
        used, deadline = 0.0, time.monotonic() + STOP_S
        with contextlib.suppress(OSError):  # one has ended
            used = cpu_clock(pids)
            while pids and time.monotonic() < deadline:
                threads = [thread for pid in pids for thread in _threads(pid)]
                if threads and all(thread.state in STOPPED for thread in threads):
                    before, self._worked = self._worked, {thread.tid: thread.ticks for thread in threads}
                    busiest = max(threads, key=lambda thread: thread.ticks - before.get(thread.tid, 0))
                    return Standstill(busiest.core, pids, cpu_clock(pids))
        return Standstill(None, pids, used)

    def delay_s(self) -> float | None:
        """Seconds that all but the first process were ready to run and waited for a core. None where the kernel does not tell."""
        total = 0
        try:
            for process in self._below():
                for path in glob.iglob(f"/proc/{process.pid}/task/*/schedstat"):
                    total += int(Path(path).read_bytes().split()[1])
        except (OSError, ValueError, IndexError):
            return None
        return total / 1e9 if total else None

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


@dataclass(frozen=True)
class _Thread:
    """A line of /proc/<pid>/task/<tid>/stat (proc(5)): state, CPU time in clock ticks, and the core it last ran on."""

    tid: int
    state: str
    ticks: int
    core: int


def _threads(pid: int) -> list[_Thread]:
    """All threads of a process that have not ended. Empty where the kernel does not list them."""
    found = []
    for path in glob.iglob(f"/proc/{pid}/task/*/stat"):
        with contextlib.suppress(OSError):
            words = Path(path).read_text().rpartition(")")[2].split()
            found.append(_Thread(int(path.split("/")[4]), words[0], int(words[11]) + int(words[12]), int(words[36])))
    return found


def _stop(process: psutil.Process) -> None:
    """Stop a process with all its threads. Raises psutil.Error.

    A signal to the process waits for one thread, its first where that can be. On a busy machine that thread may wait long for
    a core, and the others run on meanwhile. So each gets one, and the first that is running stops them all.
    """
    process.suspend()
    for thread in _threads(process.pid):
        stop_thread(process.pid, thread.tid)


def _running(process: psutil.Process) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:  # its first thread has ended; others may go on
            return any(thread.state not in "ZX" for thread in _threads(process.pid))
        return bool(process.is_running())
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


def python(code: str, *arguments: str) -> list[str]:
    """The command line of a new Python that runs `code` with the same files of this package as this process."""
    package = sys.modules["nanochat"].__spec__
    # A run's own copy has a loader with a command: see core/execution/launch.py.
    command = getattr(package.loader if package else None, "command", ())
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
