"""Figures of the machine from psutil and NVML. A figure that cannot be read is None, never an error.

psutil is imported by the functions that need it, since the app shows its first picture without them.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import platform
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.machine import limits
from core.record import process_start
from nanochat.contract import throttling

if TYPE_CHECKING:
    import psutil

FULL_BYTES = 8 << 20  # with less free space no new experiment is started
LOW_BYTES, LOW_SHARE = 1 << 30, 0.05  # with less free space than both, `status` warns
CPUINFO = Path("/proc/cpuinfo")
BF16 = frozenset({"avx512_bf16", "amx_tile"})


@dataclass(frozen=True)
class Gpu:
    """A GPU. Memory in bytes, utilisation in percent, power in watts, temperature in degrees Celsius, clock in MHz."""

    name: str
    memory_total: int | None = None
    memory_used: int | None = None
    utilisation: int | None = None
    temperature: int | None = None
    power: float | None = None
    clock: int | None = None
    uuid: str = ""
    throttled: str = ""  # why its clock is throttled, as text
    users: tuple[tuple[int, int], ...] = ()  # processes that compute on it, as (pid, bytes)
    others: int = 0  # bytes that processes other than the trainers hold


@dataclass(frozen=True)
class Machine:
    """CPU in percent over all cores, memory in bytes, and the GPUs."""

    cpu_percent: float | None = None
    cores: tuple[float, ...] = ()  # percent of each core
    memory_used: int | None = None
    memory_total: int | None = None
    gpus: tuple[Gpu, ...] = ()
    trainer_cpu: float | None = None  # percent of one core, over all running trainers
    trainer_memory: int | None = None  # bytes


class Meter:
    """Reads the machine repeatedly. Loads are means since the last reading; in the first reading they are None."""

    def __init__(self) -> None:
        self._known: dict[psutil.Process, psutil.Process] = {}
        self._first = True

    def read(self, trainers: Iterable[tuple[int, float]] = ()) -> Machine:
        """Return the present figures. `trainers` are the processes of the running jobs, see `core.record.process_start`."""
        import psutil

        used = total = None
        cores: tuple[float, ...] = ()
        with contextlib.suppress(psutil.Error, OSError):
            cores = tuple(psutil.cpu_percent(percpu=True))
        if self._first:  # without an earlier reading the load is meaningless
            self._first, cores = False, ()
        percent = sum(cores) / len(cores) if cores else None
        with contextlib.suppress(psutil.Error, OSError):
            memory = psutil.virtual_memory()
            used, total = memory.total - memory.available, memory.total
        ours = self._processes(trainers)
        pids = {process.pid for process in ours}
        found = tuple(
            replace(gpu, others=sum(size for pid, size in gpu.users if pid not in pids)) if pids else gpu
            for gpu in gpus()
        )
        load, size = _sum(ours)
        return Machine(percent, cores, used, total, found, load, size)

    def _processes(self, trainers: Iterable[tuple[int, float]]) -> list[psutil.Process]:
        import psutil

        known: dict[psutil.Process, psutil.Process] = {}
        for pid, started in trainers:
            if process_start.started(pid) != started:  # a later process with the same pid
                continue
            with contextlib.suppress(psutil.Error, OSError):
                process = psutil.Process(pid)
                for member in (process, *process.children(recursive=True)):
                    # A process that is known has the CPU time of the last reading.
                    known[member] = self._known.get(member, member)
        self._known = known
        return list(known.values())


def _sum(processes: Iterable[psutil.Process]) -> tuple[float | None, int | None]:
    """Return the load in percent of one core and the resident bytes, or None for both if nothing can be read."""
    import psutil

    load, size, seen = 0.0, 0, False
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            load += process.cpu_percent()
            size += process.memory_info().rss
            seen = True
    return (load, size) if seen else (None, None)


# -- GPUs -------------------------------------------------------------------------------------------------------------


@functools.cache
def _nvml() -> Any | None:
    """Return the NVML library, initialised at first use and then kept open, or None if it cannot be used."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no library, no driver or no permission
        return None
    return pynvml


def gpus(environ: Mapping[str, str] = os.environ) -> list[Gpu]:
    """Return the GPUs that this process may use, without those that CUDA_VISIBLE_DEVICES hides.

    For a card with MIG instances each instance counts, with its own memory.
    """
    return [gpu for _, gpu in chosen(_installed(), environ.get("CUDA_VISIBLE_DEVICES"))]


def cards(environ: Mapping[str, str] = os.environ) -> list[str] | None:
    """Return a value of CUDA_VISIBLE_DEVICES for each usable GPU, which shows a process only that GPU.

    None if NVML shows no GPU at all (ROCm, some Jetsons): then the number of GPUs is unknown.
    """
    installed = _installed()
    return [name for name, _ in chosen(installed, environ.get("CUDA_VISIBLE_DEVICES"))] if installed else None


def _installed() -> list[list[Gpu]]:
    """Return the cards that the driver shows. Each is a list of its usable parts: itself, or its MIG instances."""
    nvml, cards = _nvml(), []
    if nvml is not None:
        with contextlib.suppress(Exception):  # the driver may disappear
            for index in range(nvml.nvmlDeviceGetCount()):
                cards.append(_parts(nvml, nvml.nvmlDeviceGetHandleByIndex(index)))
    return cards


def _parts(nvml: Any, handle: object) -> list[Gpu]:
    """Return a card as a list of one, or its MIG instances. These have memory and users; most other figures are None."""
    instances: list[Gpu] = []
    with contextlib.suppress(Exception):  # the card or the driver may not support MIG
        if nvml.nvmlDeviceGetMigMode(handle)[0]:
            for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
                with contextlib.suppress(Exception):  # there may be no instance with that number
                    instances.append(_gpu(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)))
    return instances or [_gpu(nvml, handle)]


def chosen(cards: Sequence[Sequence[Gpu]], setting: str | None) -> list[tuple[str, Gpu]]:
    """Return the GPUs that a value of CUDA_VISIBLE_DEVICES shows, each with a value that shows only that GPU.

    Like CUDA, it stops at the first word that matches nothing or is repeated.

    Args:
        cards: The cards in the order of the PCI bus, each as its usable parts.
        setting: Comma-separated words: numbers of cards, or beginnings of UUIDs of cards or MIG instances. None for no setting.
    """
    if setting is None:
        return [
            (gpu.uuid if gpu.uuid.startswith("MIG-") else str(number), gpu)
            for number, parts in enumerate(cards)
            for gpu in parts
        ]
    left: list[tuple[str, Gpu]] = []
    for word in (part.strip() for part in setting.split(",")):
        match = [gpu for parts in cards for gpu in parts if word and gpu.uuid.startswith(word)]
        if word.isdecimal():
            match = list(cards[int(word)][:1]) if int(word) < len(cards) else []
        if len(match) != 1 or any(match[0] is gpu for _, gpu in left):
            break
        whole = word.isdecimal() and not match[0].uuid.startswith("MIG-")
        left.append((word if whole else match[0].uuid, match[0]))
    return left


def _gpu(nvml: Any, handle: object) -> Gpu:
    def ask(name: str, *arguments: object) -> Any | None:
        try:
            return getattr(nvml, name)(handle, *arguments)
        except Exception:  # any figure may be unsupported
            return None

    def text(value: object) -> str:
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")

    def number(value: object) -> int | None:
        return int(value) if isinstance(value, int) else None

    memory, rates = ask("nvmlDeviceGetMemoryInfo"), ask("nvmlDeviceGetUtilizationRates")
    power = ask("nvmlDeviceGetPowerUsage")  # milliwatts
    return Gpu(
        name=text(ask("nvmlDeviceGetName")) or "GPU",
        memory_total=number(getattr(memory, "total", None)),
        memory_used=number(getattr(memory, "used", None)),
        utilisation=number(getattr(rates, "gpu", None)),
        temperature=number(ask("nvmlDeviceGetTemperature", 0)),  # NVML_TEMPERATURE_GPU
        power=power / 1000 if isinstance(power, int) else None,
        clock=number(ask("nvmlDeviceGetClockInfo", 1)),  # NVML_CLOCK_SM
        uuid=text(ask("nvmlDeviceGetUUID")),
        throttled=", ".join(
            throttling.reasons(
                ask("nvmlDeviceGetCurrentClocksEventReasons") or ask("nvmlDeviceGetCurrentClocksThrottleReasons")
            )
        ),
        users=_users(ask("nvmlDeviceGetComputeRunningProcesses") or ()),
    )


def _users(processes: Iterable[Any]) -> tuple[tuple[int, int], ...]:
    """Return (pid, bytes) of each process, with 0 bytes if the driver does not tell (WSL2, containers)."""
    users = []
    for process in processes:
        with contextlib.suppress(AttributeError, TypeError, ValueError):
            size = process.usedGpuMemory
            users.append((int(process.pid), size if isinstance(size, int) and 0 <= size < 1 << 63 else 0))
    return tuple(users)


def gpu_memory() -> list[int]:
    """Return the bytes of memory of each usable GPU, with 0 if the driver does not say."""
    return [gpu.memory_total or 0 for gpu in gpus()]


# -- processors and memory --------------------------------------------------------------------------------------------


def physical_cores(root: Path = limits.ROOT) -> int:
    """Return the number of physical cores that this process may use, at least 1, by its affinity and control groups."""
    import psutil

    threads = logical_cores(root)
    return min(psutil.cpu_count(logical=False) or threads, threads)


def logical_cores(root: Path = limits.ROOT) -> int:
    """Return the number of logical cores that this process may use, at least 1, by its affinity and control groups."""
    cores = os.cpu_count() or 1
    with contextlib.suppress(AttributeError, OSError):
        cores = min(cores, len(os.sched_getaffinity(0)))
    quota = limits.cpus(root)
    return max(1, cores if quota is None else min(cores, math.floor(quota)))


def processor(info: Path = CPUINFO) -> str:
    """Return the name of the processor, or of its architecture if the system does not tell."""
    with contextlib.suppress(OSError):
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def described(device: str) -> tuple[str, ...]:
    """Return this machine as phrases: what trains first, then the processors and the memory."""
    cores = physical_cores()
    memory = f"{memory_total() / 2**30:.0f} GiB of memory"
    chips = ", ".join(filter(None, (processor(), f"{cores} core{'' if cores == 1 else 's'}")))
    names = [gpu.name for gpu in gpus()] if device == "cuda" else []
    cards = [f"{count} x {name}" if (count := names.count(name)) > 1 else name for name in dict.fromkeys(names)]
    return (*cards, chips, memory)


def multiplies_bf16(info: Path = CPUINFO) -> bool | None:
    """Return whether this CPU multiplies bfloat16, as train.py does, or None if unknown (not x86, not Linux)."""
    with contextlib.suppress(OSError):
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("flags"):
                return not BF16.isdisjoint(line.split())
    return None


def memory_total(root: Path = limits.ROOT) -> int:
    """Return the bytes of memory that this process may use: the machine's, or a smaller limit of control groups or ulimit."""
    import psutil

    total = int(psutil.virtual_memory().total)
    limit = limits.memory(root)
    return total if limit is None else min(total, limit)


# -- disk -------------------------------------------------------------------------------------------------------------


def disk_free(path: Path) -> int | None:
    """Return the free bytes at a path, which need not exist, or None if unknown."""
    usage = _disk(path)
    return usage[1] if usage else None


def _disk(path: Path) -> tuple[int, int] | None:
    """Return the total and free bytes of the disk of a path, or None if unknown."""
    for folder in (path, *path.absolute().parents):
        with contextlib.suppress(OSError):
            usage = shutil.disk_usage(folder)
            return usage.total, usage.free
    return None


def disk_full(path: Path) -> str | None:
    """Return a sentence if the disk has no room for another experiment, else None."""
    free = disk_free(path)
    if free is None or free >= FULL_BYTES:
        return None
    return f"the disk is full ({free / 1e6:.0f} MB left for {path}); the run continues when there is room"


def disk_warning(path: Path) -> str | None:
    """Return a warning if the disk is nearly full, else None."""
    usage = _disk(path)
    return disk_words(*usage) if usage else None


def disk_words(total: int, free: int) -> str | None:
    """Return a warning for a disk with these total and free bytes, or None."""
    if free >= min(LOW_BYTES, LOW_SHARE * total):
        return None
    return f"the disk is {1 - free / total:.0%} full ({free / 1e6:.0f} MB left); free some space"
