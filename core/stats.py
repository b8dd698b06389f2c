"""Figures of the machine by psutil and NVML. What cannot be read is None, never an error."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

FULL_BYTES = 8 << 20  # below this nothing new is started
LOW_BYTES, LOW_SHARE = 1 << 30, 0.05  # below either, `status` warns


@dataclass(frozen=True)
class Gpu:
    """One GPU. Memory in bytes, power in watts, temperature in degrees Celsius, clock in MHz."""

    name: str
    memory_total: int
    memory_used: int | None = None
    utilisation: int | None = None
    temperature: int | None = None
    power: float | None = None
    clock: int | None = None


@dataclass(frozen=True)
class Machine:
    """CPU in percent over all cores, memory in bytes, and the GPUs."""

    cpu_percent: float
    memory_used: int
    memory_total: int
    gpus: tuple[Gpu, ...] = ()


def machine() -> Machine:
    """The figures now."""
    memory = psutil.virtual_memory()
    return Machine(psutil.cpu_percent(), memory.total - memory.available, memory.total, tuple(gpus()))


def gpus() -> list[Gpu]:
    """All GPUs that the driver shows; none without a driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no library, no driver, no right: no GPU to speak of
        return []
    found = []
    try:
        for index in range(pynvml.nvmlDeviceGetCount()):
            found.append(_gpu(pynvml, pynvml.nvmlDeviceGetHandleByIndex(index)))
    except pynvml.NVMLError:
        pass
    finally:
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
    return found


def _gpu(nvml: object, handle: object) -> Gpu:
    def ask(name: str, *arguments: object) -> object | None:
        try:
            return getattr(nvml, name)(handle, *arguments)  # type: ignore[no-any-return]
        except Exception:  # each figure may be unsupported on its own
            return None

    memory = ask("nvmlDeviceGetMemoryInfo")
    rates = ask("nvmlDeviceGetUtilizationRates")
    power = ask("nvmlDeviceGetPowerUsage")
    temperature, clock = ask("nvmlDeviceGetTemperature", 0), ask("nvmlDeviceGetClockInfo", 1)
    return Gpu(
        name=str(ask("nvmlDeviceGetName") or "GPU"),
        memory_total=int(getattr(memory, "total", 0)),
        memory_used=getattr(memory, "used", None),
        utilisation=getattr(rates, "gpu", None),
        temperature=temperature if isinstance(temperature, int) else None,
        power=power / 1000 if isinstance(power, int) else None,
        clock=clock if isinstance(clock, int) else None,
    )


def gpu_memory() -> list[int]:
    """Bytes of memory of each GPU."""
    return [gpu.memory_total for gpu in gpus()]


def physical_cores() -> int:
    """Physical cores that this process may use, at least one."""
    with contextlib.suppress(AttributeError):
        return max(1, min(psutil.cpu_count(logical=False) or 1, len(psutil.Process().cpu_affinity() or [0])))
    return psutil.cpu_count(logical=False) or 1


def disk_full(path: Path) -> str | None:
    """A sentence when there is hardly room for another experiment."""
    free = shutil.disk_usage(path).free
    if free >= FULL_BYTES:
        return None
    return f"the disk is full ({free / 1e6:.0f} MB left for {path}); it goes on by itself when there is room"


def disk_warning(path: Path) -> str | None:
    """A sentence before that."""
    usage = shutil.disk_usage(path)
    if usage.free >= min(LOW_BYTES, LOW_SHARE * usage.total):
        return None
    return f"the disk is {1 - usage.free / usage.total:.0%} full ({usage.free / 1e6:.0f} MB left); free some space"
