"""Measure the use of the training GPU by the trainer and by other processes, with the driver's library (NVML)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nanochat.contract import throttling

EVERY_S = 1.0  # between two readings
FREED_S, AGAIN_S, AT_REST = 3.0, 0.1, 2  # longest wait, interval (seconds); readings in a row without a decrease


@dataclass(frozen=True)
class Reading:
    """The state of a GPU at one moment."""

    used: int  # bytes in use by all processes
    users: Mapping[int, int]  # pid -> bytes
    held_down: bool = False  # whether its clock is throttled


class Meter:
    """Summarises the readings of one training.

    Attributes:
        peak: Peak bytes used by the trainer.
        others: Peak bytes used by other processes.
    """

    def __init__(self, first: Reading | None) -> None:
        """`first`: a reading before the trainer uses the GPU; None if the GPU cannot be read."""
        self._first = first
        self._readings = self._held_down = 0
        self._read_at = 0.0
        self.peak = self.others = 0  # bytes

    def look(self, pids: Collection[int]) -> None:
        """Take a reading, at most once a second. `pids` are the trainer's processes."""
        if self._first is not None and time.monotonic() - self._read_at >= EVERY_S:
            self._read_at = time.monotonic()
            if (found := read()) is not None:
                self.take(found, pids)

    def take(self, reading: Reading, pids: Collection[int]) -> None:
        """Add a reading.

        If the driver lists none of the trainer's processes (in a container), the memory added since `first` is the trainer's.
        """
        assert self._first is not None
        self._readings += 1
        self._held_down += reading.held_down
        own = sum(size for pid, size in reading.users.items() if pid in pids)
        if own:
            self.others = max(self.others, sum(size for pid, size in reading.users.items() if pid not in pids))
        self.peak = max(self.peak, own or reading.used - self._first.used)

    @property
    def held_down(self) -> float:
        """Share of the readings in which the clock was throttled."""
        return self._held_down / self._readings if self._readings else 0.0


def read_at_rest(wait_s: float = FREED_S) -> Reading | None:
    """Wait until the memory in use no longer decreases, then return a reading. Returns None as `read` does.

    A driver takes up to a second to free the memory of a killed process. Waits `wait_s` seconds at most.
    """
    deadline = time.monotonic() + wait_s
    with _opened():  # keep it open: if no other program uses the card, each opening takes a second
        found, still = read(), 0
        while found is not None and still < AT_REST and time.monotonic() < deadline:
            time.sleep(AGAIN_S)
            before, found = found.used, read()
            still = still + 1 if found is not None and found.used >= before else 0
    return found


@contextlib.contextmanager
def _opened() -> Iterator[Any]:
    """Open the driver's library, and close it at the end. Yields None if it is missing or may not be used."""
    try:
        import pynvml as nvml

        nvml.nvmlInit()
    except Exception:
        yield None
        return
    try:
        yield nvml
    finally:
        with contextlib.suppress(Exception):
            nvml.nvmlShutdown()


def read(environ: Mapping[str, str] = os.environ) -> Reading | None:
    """Read the first GPU that CUDA shows to this process.

    A missing answer affects only its own field: no processes, a clock that is not throttled, or the sum of the processes as the
    memory in use. The library is closed again, because a process that is forked while it is open cannot use it and gets no error.

    Returns:
        The reading, or None without a driver, its library, or the right to use them.
    """
    with _opened() as nvml:
        if nvml is None:
            return None
        try:
            device = _handle(nvml, environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip())
            users = _users(nvml, device)
            memory = _bytes(getattr(_ask(nvml, "nvmlDeviceGetMemoryInfo", device), "used", None))
            reasons = _ask(nvml, "nvmlDeviceGetCurrentClocksEventReasons", device)
            if reasons is None:  # the name in older libraries
                reasons = _ask(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", device)
            held_down = bool(throttling.reasons(reasons))
            return Reading(sum(users.values()) if memory is None else memory, users, held_down)
        except Exception:  # there is no such GPU
            return None


def _ask(nvml: Any, name: str, device: Any) -> Any | None:
    """Call a function of the driver's library. Returns None if that fails (WSL, MIG, older cards)."""
    try:
        return getattr(nvml, name)(device)
    except Exception:
        return None


def _users(nvml: Any, device: Any) -> dict[int, int]:
    """Return bytes by pid; 0 if the driver does not tell the size."""
    users: dict[int, int] = {}
    for user in _ask(nvml, "nvmlDeviceGetComputeRunningProcesses", device) or ():
        with contextlib.suppress(AttributeError, TypeError, ValueError):
            pid = int(user.pid)
            users[pid] = users.get(pid, 0) + (_bytes(user.usedGpuMemory) or 0)
    return users


def _bytes(value: object) -> int | None:
    """Return a size, or None for "not available": not an int, or an int with all bits set."""
    return value if isinstance(value, int) and 0 <= value < 1 << 63 else None


def _handle(nvml: Any, name: str) -> Any:
    """Return the handle of a GPU by UUID or by number. Numbers are in PCI bus order; the harness sets CUDA to the same order."""
    return nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdecimal() else nvml.nvmlDeviceGetHandleByUUID(name)
