"""GPUs, CPU and memory. What cannot be read is n/a."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from core.machine.stats import Gpu, Machine
from tui.view import words
from tui.widgets.pane import Pane

MOST_CORES = 12


class MachinePane(Pane):
    """A few lines a GPU, then the CPU."""

    NUMBER: ClassVar[int] = 4
    NAME: ClassVar[str] = "GPU"
    ABOUT: ClassVar[str] = "Each GPU's load, memory, temperature, power and clock, then the CPU's cores and the memory."

    _count = -1

    def compose(self) -> ComposeResult:
        yield Static(id="figures")

    def show(self, machine: Machine) -> None:
        lines = [Content.styled(words, "$warning") for words in warnings(machine)]
        lines += [line for index, gpu in enumerate(machine.gpus) for line in _gpu(index, gpu)]
        if not machine.gpus:
            lines.append(Content.styled("GPU n/a", "$foreground 60%"))
        lines.append(_meter("cpu", machine.cpu_percent, _cores(machine.cores)))
        if machine.memory_used is not None and machine.memory_total:
            share = 100 * machine.memory_used / machine.memory_total
            lines.append(_meter("ram", share, f"{machine.memory_used / 1e9:.1f}/{machine.memory_total / 1e9:.0f} GB"))
        else:
            lines.append(_meter("ram", None))
        if machine.trainer_cpu is not None or machine.trainer_memory is not None:
            cpu = f"{machine.trainer_cpu:.0f}%" if machine.trainer_cpu is not None else "n/a"
            lines.append(Content(f"trainer {cpu} cpu, {words.memory(machine.trainer_memory)}"))
        self.query_one("#figures", Static).update(Content("\n").join(lines), layout=len(lines) != self._count)
        self._count = len(lines)


def brief(machine: Machine) -> str:
    """The machine in a few words."""
    if machine.gpus:
        gpu = machine.gpus[0]
        parts = [f"{gpu.utilisation}%" if gpu.utilisation is not None else "n/a"]
        parts += [f"{gpu.temperature}°C"] if gpu.temperature is not None else []
        parts += [f"{gpu.memory_used / 1e9:.0f} GB"] if gpu.memory_used is not None else []
        return "GPU " + " ".join(parts)
    return f"CPU {machine.cpu_percent:.0f}%" if machine.cpu_percent is not None else "CPU n/a"


def warnings(machine: Machine) -> list[str]:
    """What keeps a GPU from its best."""
    found = []
    for index, gpu in enumerate(machine.gpus):
        found += [f"{index} throttled: {gpu.throttled}"] if gpu.throttled else []
        found += [f"{index} used by others: {words.memory(gpu.others)}"] if gpu.others else []
    return found


def _gpu(index: int, gpu: Gpu) -> list[Content]:
    power = f"{gpu.power:.0f} W" if gpu.power is not None else "n/a W"
    heat = f"{gpu.temperature}°C" if gpu.temperature is not None else "n/a °C"
    clock = f"{gpu.clock} MHz" if gpu.clock is not None else "n/a MHz"
    lines = [_meter(f"{index:<3}", gpu.utilisation, f"{heat} {power}")]
    if gpu.memory_used is not None and gpu.memory_total:
        share = 100 * gpu.memory_used / gpu.memory_total
        lines.append(_meter("mem", share, f"{gpu.memory_used / 1e9:.0f}/{gpu.memory_total / 1e9:.0f} GB {clock}"))
    else:
        lines.append(Content(f"mem n/a  {clock}"))
    return lines


def _cores(percent: Sequence[float]) -> str:
    """A block a core, as many as a narrow pane holds; of more cores the means of neighbours."""
    width = min(len(percent), MOST_CORES)
    cuts = [len(percent) * i // width for i in range(width + 1)] if width else []
    means = [sum(percent[a:b]) / (b - a) for a, b in itertools.pairwise(cuts)]
    return "".join(words.BLOCKS[min(7, int(mean / 100 * 8))] for mean in means)


def _meter(name: str, percent: float | None, tail: str = "") -> Content:
    if percent is None:
        return Content(f"{name} n/a {tail}".rstrip())
    full, rest = words.bar(percent / 100, 6)
    return Content.assemble(f"{name} {percent:3.0f}% ", (full, "$accent"), (rest, "$foreground 25%"), f" {tail}")
