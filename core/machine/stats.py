"""Figures of the machine by psutil and NVML. What cannot be read is None, never an error."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from core.machine import limits

FULL_BYTES = 8 << 20  # below this nothing new is started
LOW_BYTES, LOW_SHARE = 1 << 30, 0.05  # below either, `status` warns
CPUINFO = Path("/proc/cpuinfo")
BF16 = frozenset({"avx512_bf16", "amx_tile"})


@dataclass(frozen=True)
class Gpu:
    """One GPU. Memory in bytes, utilisation in percent, power in watts, temperature in degrees Celsius, clock in MHz."""

    name: str
    memory_total: int | None = None
    memory_used: int | None = None
    utilisation: int | None = None
    temperature: int | None = None
    power: float | None = None
    clock: int | None = None
    uuid: str = ""
    throttled: str = ""  # why its clock is held down, in words
    users: tuple[tuple[int, int], ...] = ()  # processes that compute on it: (pid, bytes)
    others: int = 0  # bytes that processes hold which are not ours


@dataclass(frozen=True)
class Machine:
    """CPU in percent over all cores, memory in bytes, and the GPUs."""

    cpu_percent: float | None = None
    cores: tuple[float, ...] = ()  # the same of each core
    memory_used: int | None = None
    memory_total: int | None = None
    gpus: tuple[Gpu, ...] = ()
    trainer_cpu: float | None = None  # percent of one core, over all running trainers
    trainer_memory: int | None = None  # bytes


class Meter:
    """Reads the machine again and again; loads are means since the last reading, and None in the first."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, float], psutil.Process] = {}
        self._first = True

    def read(self, trainers: Iterable[tuple[int, float]] = ()) -> Machine:
        """The figures now. `trainers` are the processes (pid, start time) of the running jobs."""
        used = total = None
        cores: tuple[float, ...] = ()
        with contextlib.suppress(psutil.Error, OSError):
            cores = tuple(psutil.cpu_percent(percpu=True))
        if self._first:  # since no earlier reading: it means nothing
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
        known: dict[tuple[int, float], psutil.Process] = {}
        for pid, started in trainers:
            with contextlib.suppress(psutil.Error, OSError):
                process = psutil.Process(pid)
                if abs(process.create_time() - started) < 0.05:  # the same process, not a later one of that number
                    for member in (process, *process.children(recursive=True)):
                        key = (member.pid, member.create_time())
                        known[key] = self._known.get(key, member)
        self._known = known
        return list(known.values())


def _sum(processes: Iterable[psutil.Process]) -> tuple[float | None, int | None]:
    """Load in percent of one core and resident bytes; None where nothing could be read."""
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
    """The driver's library, initialised at first use and then kept open; None where there is none."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no library, no driver, no right: no GPU to speak of
        return None
    return pynvml


def gpus(environ: Mapping[str, str] = os.environ) -> list[Gpu]:
    """Return the GPUs that this process may use: what the driver shows, less what CUDA_VISIBLE_DEVICES hides.

    A card that is divided into MIG instances counts as its instances, each with its own memory.
    """
    return [gpu for _, gpu in chosen(_installed(), environ.get("CUDA_VISIBLE_DEVICES"))]


def cards(environ: Mapping[str, str] = os.environ) -> list[str] | None:
    """Return the values of CUDA_VISIBLE_DEVICES that show a process one of the usable GPUs each.

    None where the driver's library shows no GPU at all (ROCm, some Jetsons): then nothing is known about their number.
    """
    found = _installed()
    return [name for name, _ in chosen(found, environ.get("CUDA_VISIBLE_DEVICES"))] if found else None


def _installed() -> list[list[Gpu]]:
    """Each card that the driver shows, as the parts that a process can use: itself, or its MIG instances."""
    nvml, found = _nvml(), []
    if nvml is not None:
        with contextlib.suppress(Exception):  # a driver that went away
            for index in range(nvml.nvmlDeviceGetCount()):
                found.append(_parts(nvml, nvml.nvmlDeviceGetHandleByIndex(index)))
    return found


def _parts(nvml: Any, handle: object) -> list[Gpu]:
    """A card as a list of one, or its MIG instances. Instances have memory and users; most other figures are None."""
    instances: list[Gpu] = []
    with contextlib.suppress(Exception):  # a card or a driver that knows no MIG
        if nvml.nvmlDeviceGetMigMode(handle)[0]:
            for number in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
                with contextlib.suppress(Exception):  # no instance of that number
                    instances.append(_gpu(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number)))
    return instances or [_gpu(nvml, handle)]


def chosen(found: Sequence[Sequence[Gpu]], setting: str | None) -> list[tuple[str, Gpu]]:
    """Return the GPUs that a value of CUDA_VISIBLE_DEVICES leaves, each with a value that leaves it alone.

    `found` are the cards in the order of the PCI bus, each as its usable parts. A word of the setting is a card's number or the beginning of
    a UUID of a card or a MIG instance. As CUDA does, stop at the first word that fits nothing or comes twice.
    """
    if setting is None:
        return [
            (gpu.uuid if gpu.uuid.startswith("MIG-") else str(number), gpu)
            for number, parts in enumerate(found)
            for gpu in parts
        ]
    left: list[tuple[str, Gpu]] = []
    for word in (part.strip() for part in setting.split(",")):
        match = [gpu for parts in found for gpu in parts if word and gpu.uuid.startswith(word)]
        if word.isdecimal():
            match = list(found[int(word)][:1]) if int(word) < len(found) else []
        if len(match) != 1 or any(match[0] is gpu for _, gpu in left):
            break
        whole = word.isdecimal() and not match[0].uuid.startswith("MIG-")
        left.append((word if whole else match[0].uuid, match[0]))
    return left


def _gpu(nvml: Any, handle: object) -> Gpu:
    def ask(name: str, *arguments: object) -> Any | None:
        try:
            return getattr(nvml, name)(handle, *arguments)
        except Exception:  # each figure may be unsupported on its own
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
        throttled=throttled(
            ask("nvmlDeviceGetCurrentClocksEventReasons") or ask("nvmlDeviceGetCurrentClocksThrottleReasons")
        ),
        users=_users(ask("nvmlDeviceGetComputeRunningProcesses") or ()),
    )


def _users(processes: Iterable[Any]) -> tuple[tuple[int, int], ...]:
    """(pid, bytes) of each, with 0 bytes where the driver does not tell them (WSL2, containers)."""
    found = []
    for process in processes:
        with contextlib.suppress(AttributeError, TypeError, ValueError):
            size = process.usedGpuMemory
            found.append((int(process.pid), size if isinstance(size, int) and 0 <= size < 1 << 63 else 0))
    return tuple(found)


def throttled(reasons: object) -> str:
    """Why the clock is held down, '' when it is not. Bits of nvmlClocksEventReasons in nvml.h; a power cap is daily life."""
    bits = reasons if isinstance(reasons, int) else 0
    words = {0x08: "hardware slowdown", 0x20: "heat", 0x40: "heat", 0x80: "power brake"}
    return ", ".join(dict.fromkeys(word for bit, word in words.items() if bits & bit))


def gpu_memory() -> list[int]:
    """Bytes of memory of each GPU that may be used; 0 where the driver does not say."""
    return [gpu.memory_total or 0 for gpu in gpus()]


# -- what a container leaves ------------------------------------------------------------------------------------------


def physical_cores(root: Path = limits.ROOT) -> int:
    """Physical cores that this process may use, at least one: affinity and the quotas of control groups are respected."""
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    with contextlib.suppress(AttributeError, OSError):
        cores = min(cores, len(os.sched_getaffinity(0)))
    quota = limits.cpus(root)
    return max(1, cores if quota is None else min(cores, math.floor(quota)))


def multiplies_bf16(info: Path = CPUINFO) -> bool | None:
    """Whether this CPU multiplies bfloat16, as train.py asks of torch; None where it cannot be told (not x86, not Linux)."""
    with contextlib.suppress(OSError):
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("flags"):
                return not BF16.isdisjoint(line.split())
    return None


def memory_total(root: Path = limits.ROOT) -> int:
    """Bytes of memory that this process may use: the machine's, or the smallest limit of control groups and ulimit below that."""
    total = int(psutil.virtual_memory().total)
    limit = limits.memory(root)
    return total if limit is None else min(total, limit)


# -- disk -------------------------------------------------------------------------------------------------------------


def disk_free(path: Path) -> int | None:
    """Bytes that can still be written at a path, which need not exist yet."""
    usage = _disk(path)
    return usage[1] if usage else None


def _disk(path: Path) -> tuple[int, int] | None:
    """Total and free bytes of the disk that a path is on."""
    for folder in (path, *path.absolute().parents):
        with contextlib.suppress(OSError):
            usage = shutil.disk_usage(folder)
            return usage.total, usage.free
    return None


def disk_full(path: Path) -> str | None:
    """A sentence when there is hardly room for another experiment."""
    free = disk_free(path)
    if free is None or free >= FULL_BYTES:
        return None
    return f"the disk is full ({free / 1e6:.0f} MB left for {path}); it goes on by itself when there is room"


def disk_warning(path: Path) -> str | None:
    """A sentence before that."""
    usage = _disk(path)
    return disk_words(*usage) if usage else None


def disk_words(total: int, free: int) -> str | None:
    """What to say of a disk with so many bytes in all and free."""
    if free >= min(LOW_BYTES, LOW_SHARE * total):
        return None
    return f"the disk is {1 - free / total:.0%} full ({free / 1e6:.0f} MB left); free some space"
