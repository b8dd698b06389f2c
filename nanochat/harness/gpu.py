"""The training GPU seen from outside, through the driver's library (NVML): what the trainer takes of it, who else is on it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

EVERY_S = 1.0
FREED_S, AGAIN_S, AT_REST = 3.0, 0.1, 2  # seconds, and how many looks in a row find no less
# Bits of nvmlClocksEventReasons (nvml.h) that no idle clock and no power cap explains: hardware slowdown, heat, power brake.
HELD_DOWN = 0x08 | 0x20 | 0x40 | 0x80


@dataclass(frozen=True)
class Reading:
    """One look at a GPU: bytes in use in all, bytes by process, and whether its clock is held down."""

    used: int
    users: Mapping[int, int]
    held_down: bool = False


class Meter:
    """Sums up readings of one training: the trainer's peak memory, the others' peak, the share of time held down."""

    def __init__(self, first: Reading | None) -> None:
        """`first`: a look before the trainer has touched the GPU; None where there is nothing to read."""
        self._first = first
        self._readings = self._held_down = 0
        self._read_at = 0.0
        self.peak = self.others = 0  # bytes

    def look(self, pids: Collection[int]) -> None:
        """Read again, at most once a second. `pids` are the trainer's processes."""
        if self._first is not None and time.monotonic() - self._read_at >= EVERY_S:
            self._read_at = time.monotonic()
            if (found := read()) is not None:
                self.take(found, pids)

    def take(self, reading: Reading, pids: Collection[int]) -> None:
        """Add a reading. Where the driver names none of our processes (in a container), what came since `first` is ours."""
        assert self._first is not None
        self._readings += 1
        self._held_down += reading.held_down
        own = sum(size for pid, size in reading.users.items() if pid in pids)
        if own:
            self.others = max(self.others, sum(size for pid, size in reading.users.items() if pid not in pids))
        self.peak = max(self.peak, own or reading.used - self._first.used)

    @property
    def held_down(self) -> float:
        """The share of the readings in which the clock was held down."""
        return self._held_down / self._readings if self._readings else 0.0


def read_at_rest(wait_s: float = FREED_S) -> Reading | None:
    """Read the GPU once what it has in use stands still: a driver takes up to a second to free what a killed process held.

    Waits `wait_s` seconds at most. Returns None as `read` does.
    """
    deadline = time.monotonic() + wait_s
    with _opened():  # for all looks: where no other program keeps the card awake, each opening takes a second
        found, still = read(), 0
        while found is not None and still < AT_REST and time.monotonic() < deadline:
            time.sleep(AGAIN_S)
            before, found = found.used, read()
            still = still + 1 if found is not None and found.used >= before else 0
    return found


@contextlib.contextmanager
def _opened() -> Iterator[Any]:
    """Open the driver's library, and close it again at the end. Gives None without a driver, its library, or the right to use
    them: none of that is worth a training."""
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
    """Read the GPU that CUDA shows to this process as its first.

    Returns None without a driver, its library, or the right to use them. A missing answer affects only its own field: no
    processes, a clock that is not held down, and for the memory in use what the processes have. The library is closed
    again: a process that is forked while it is open cannot use it, and gets no error.
    """
    with _opened() as nvml:
        if nvml is None:
            return None
        try:
            device = _handle(nvml, environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip())
            users = _users(nvml, device)
            memory = _bytes(getattr(_ask(nvml, "nvmlDeviceGetMemoryInfo", device), "used", None))
            reasons = _ask(nvml, "nvmlDeviceGetCurrentClocksEventReasons", device)
            if reasons is None:  # older libraries know it by another name
                reasons = _ask(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", device)
            held_down = isinstance(reasons, int) and bool(reasons & HELD_DOWN)
            return Reading(sum(users.values()) if memory is None else memory, users, held_down)
        except Exception:  # there is no such GPU
            return None


def _ask(nvml: Any, name: str, device: Any) -> Any | None:
    """One answer of the driver; None where it has none (WSL, MIG, older cards)."""
    try:
        return getattr(nvml, name)(device)
    except Exception:
        return None


def _users(nvml: Any, device: Any) -> dict[int, int]:
    """Bytes by process, 0 where the driver names only the process."""
    users: dict[int, int] = {}
    for user in _ask(nvml, "nvmlDeviceGetComputeRunningProcesses", device) or ():
        with contextlib.suppress(AttributeError, TypeError, ValueError):
            pid = int(user.pid)
            users[pid] = users.get(pid, 0) + (_bytes(user.usedGpuMemory) or 0)
    return users


def _bytes(value: object) -> int | None:
    """A size, or None for what means "not available": no number, or one with all bits set."""
    return value if isinstance(value, int) and 0 <= value < 1 << 63 else None


def _handle(nvml: Any, name: str) -> Any:
    """By number, in the order of the PCI bus (the harness' environment asks CUDA for the same), or by UUID."""
    return nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdecimal() else nvml.nvmlDeviceGetHandleByUUID(name)
