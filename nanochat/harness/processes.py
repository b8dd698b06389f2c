"""Measure the CPU time and memory of a trainer's processes, and stop or kill them all."""

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

SEARCH_S = 0.25  # seconds between two searches by namespace
STOP_S = 0.03  # seconds to wait for processes to stop
# States of threads that do not run user code: stopped (T, t), in the kernel and about to stop (D), ended (Z, X).
STOPPED = frozenset("TtDZX")
MOST_THREADS = 64  # with more threads, reading every process of the machine is faster
LISTED = os.path.exists("/proc/thread-self/children")


@dataclass(frozen=True)
class Usage:
    """Resources that a tree of processes uses."""

    cpu_s: float  # so far, including ended children
    rss: int  # resident bytes now
    count: int  # living processes


@dataclass(frozen=True)
class Standstill:
    """Processes that were told to stop."""

    core: int | None  # the core of their busiest thread; None if they did not all stop in time
    pids: list[int]
    cpu_s: float  # CPU seconds used when they had stopped, or when they were told to

    def ran_s(self) -> float:
        """Return the CPU seconds that they have used since; 0 if one has ended."""
        with contextlib.suppress(OSError):
            return cpu_clock(self.pids) - self.cpu_s
        return 0.0


def cpu_clock(pids: Iterable[int]) -> float:
    """Return the CPU seconds of processes with all threads, to the nanosecond (clock_getcpuclockid(3)).

    Linux only. Raises OSError if a process has ended.
    """
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


class Descendants:
    """A process and all its descendants, including orphans in its PID namespace."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        # Not by pid and `create_time`, which moves when the system clock is set: each process would then count twice.
        self._known: dict[psutil.Process, None] = {self._root: None}
        self._own: dict[psutil.Process, float] = {}
        self._reaped: dict[psutil.Process, float] = {}
        self._namespace = self._namespaces()
        self._searched = 0.0
        self._worked: dict[int, int] = {}  # tid -> clock ticks at the last standstill

    def _namespaces(self) -> set[str]:
        """Return the PID namespaces of the known processes, without that of this process."""
        own, found = _pid_namespace(os.getpid()), set()
        for process in self._known:
            name = _pid_namespace(process.pid)
            if name and name != own:
                found.add(name)
        return found

    def poll(self) -> Usage:
        """Measure the whole tree. A vanished process counts with its largest values so far."""
        self._find()
        rss = count = 0
        living = 0.0
        for process in list(self._known):
            try:
                with process.oneshot():
                    times, memory = process.cpu_times(), process.memory_info().rss
                    alive = process.status() != psutil.STATUS_ZOMBIE
            except psutil.Error:
                continue
            self._own[process] = max(self._own.get(process, 0.0), times.user + times.system)
            self._reaped[process] = max(self._reaped.get(process, 0.0), times.children_user + times.children_system)
            living += self._own[process] + self._reaped[process]
            rss += memory
            count += alive
        # The time of an ended child is in its parent's sum if it was waited for. If not, only the time seen so far is known.
        return Usage(max(living, sum(self._own.values())), rss, count)

    def proportional(self) -> int:
        """Return the proportional set size of the whole tree in bytes: shared pages are divided among the sharing processes.

        A process without that figure counts with its resident size. Takes some milliseconds per gigabyte.
        """
        total = 0
        for process in list(self._known):
            with contextlib.suppress(psutil.Error):
                share = _proportional(process.pid)
                total += process.memory_info().rss if share is None else share
        return total

    def _find(self, thorough: bool = False) -> None:
        """Find new descendants: children each time, and orphans by their namespace every SEARCH_S seconds, by walking /proc."""
        found: list[psutil.Process] = []
        for process in list(self._known):
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

    def _take(self, children: list[psutil.Process]) -> None:
        for process in children:
            self._known.setdefault(process)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[Standstill]:
        """Stop all processes but the first one, and resume them at the end.

        Waits up to STOP_S seconds. If they have not all stopped by then, `core` of the standstill is None.
        """
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
        return [process for process in self._known if process is not self._root]

    def _standstill(self, pids: list[int]) -> Standstill:
        """Wait until processes have stopped. The core is that of the thread that used most CPU time since the last standstill."""
        used, deadline = 0.0, time.monotonic() + STOP_S
        with contextlib.suppress(OSError):  # a process has ended
            used = cpu_clock(pids)
            while pids and time.monotonic() < deadline:
                threads = [thread for pid in pids for thread in _threads(pid)]
                if threads and all(thread.state in STOPPED for thread in threads):
                    before, self._worked = self._worked, {thread.tid: thread.ticks for thread in threads}
                    busiest = max(threads, key=lambda thread: thread.ticks - before.get(thread.tid, 0))
                    return Standstill(busiest.core, pids, cpu_clock(pids))
        return Standstill(None, pids, used)

    def delay_s(self) -> float | None:
        """Return the seconds that all processes but the first one were runnable and waited for a core. None if unknown."""
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
        return [process.pid for process in self._known]

    def kill_all(self, patience_s: float = 5.0) -> bool:
        """Send SIGKILL until no process is left, and reap zombies.

        Returns:
            False if some processes still live after `patience_s` seconds.
        """
        deadline = time.monotonic() + patience_s
        while True:
            self._find(thorough=True)
            living = [process for process in self._known if _running(process)]
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
    """Fields of /proc/<pid>/task/<tid>/stat (proc(5))."""

    tid: int
    state: str
    ticks: int  # CPU time in clock ticks
    core: int  # the core it last ran on


def _threads(pid: int) -> list[_Thread]:
    """Return the threads of a process; an empty list if the kernel does not list them."""
    found = []
    for path in glob.iglob(f"/proc/{pid}/task/*/stat"):
        with contextlib.suppress(OSError):
            words = Path(path).read_text().rpartition(")")[2].split()
            found.append(_Thread(int(path.split("/")[4]), words[0], int(words[11]) + int(words[12]), int(words[36])))
    return found


def _stop(process: psutil.Process) -> None:
    """Stop a process with all its threads. Raises psutil.Error.

    A signal to a process is handled by one thread, usually the first. On a busy machine that thread may wait long for a core while
    the others continue. So each thread gets a signal, and the first one to run stops all of them.
    """
    process.suspend()
    for thread in _threads(process.pid):
        stop_thread(process.pid, thread.tid)


def _running(process: psutil.Process) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:  # its first thread has ended; other threads may be running
            return any(thread.state not in "ZX" for thread in _threads(process.pid))
        return bool(process.is_running())
    except psutil.Error:
        return False


def _children(process: psutil.Process) -> list[psutil.Process]:
    """Return all descendants.

    Uses the lists of children that Linux has for each thread, since psutil reads every process of the machine. A list may lack a
    child while another one ends; the next call finds it.
    """
    if not LISTED:
        return list(process.children(recursive=True))
    if not process.is_running():  # another process may have its pid now
        return []
    pids = [process.pid]
    for pid in pids:  # the list grows as children are found
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
    """Return the command line of a new Python that runs `code` with the same files of this package as this process."""
    package = sys.modules["nanochat"].__spec__
    # A run's own copy is imported by a loader that has the command: see core/execution/launch.py.
    command = getattr(package.loader if package else None, "command", ())
    return [*(command or [sys.executable]), "-c", code, *arguments]


def temporary_folder() -> str | None:
    """Return the folder in TMPDIR, created again if it was removed. None, for the system's folder, if that fails or it is not set."""
    named = os.environ.get("TMPDIR")
    with contextlib.suppress(OSError):
        if named:
            os.makedirs(named, exist_ok=True)
            return named if os.access(named, os.W_OK | os.X_OK) else None
    return None


def boot_minus_monotonic() -> float:
    """Return boot time minus monotonic time, in seconds. It grows while the machine is suspended."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return time.time() - time.monotonic()
