"""Format the machine's figures. A figure that cannot be read is shown as n/a."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from textual.content import Content

from core.machine.stats import Gpu, Machine
from core.record.live import Load, Slot
from tui.view import words

TALLEST, SHORT, SHORTEST = 12, 3, 2  # rows of a graph with its scale: at most, beside others, and of a single one
TEMPERATURES = (20, 100)  # degrees Celsius at the lower and upper edge of the graph
MEDIUM, HIGH = 0.5, 0.85  # shares of the scale from which rows of a graph have another colour
NODE_NAME = 12  # characters of a node's name
MOST_CORES = 12  # blocks of the CPU's cores that fit into a narrow pane


def machine_lines(machine: Machine) -> list[Content]:
    """Return warnings, two lines for each GPU, and lines for the CPU, the memory and the trainer."""
    lines = [Content.styled(warning, "$warning") for warning in machine_warnings(machine)]
    lines += [line for index, gpu in enumerate(machine.gpus) for line in _gpu_lines(index, gpu)]
    lines.append(_meter("cpu", machine.cpu_percent, _core_blocks(machine.cores)))
    if machine.memory_used is not None and machine.memory_total:
        share = 100 * machine.memory_used / machine.memory_total
        lines.append(_meter("ram", share, f"{machine.memory_used / 1e9:.1f}/{machine.memory_total / 1e9:.0f} GB"))
    else:
        lines.append(_meter("ram", None))
    if machine.trainer_cpu is not None or machine.trainer_memory is not None:
        cpu = f"{machine.trainer_cpu:.0f}%" if machine.trainer_cpu is not None else "n/a"
        lines.append(Content(f"trainer {cpu} cpu, {words.memory(machine.trainer_memory)}"))
    return lines


def node_lines(slots: Iterable[Slot]) -> list[Content]:
    """Return a line for each machine of a cluster on which jobs run: its name, load, memory, temperature and measured speed."""
    by_name: dict[str, list[Slot]] = {}
    for slot in slots:
        if slot.node:
            by_name.setdefault(slot.node, []).append(slot)
    return [_node_line(name, by_name[name]) for name in sorted(by_name)]


def _node_line(name: str, slots: Sequence[Slot]) -> Content:
    load = _together([slot.load for slot in slots if slot.load is not None])
    speeds = [slot.speed for slot in slots if slot.speed is not None]
    parts = [f"{load.temperature}°C"] if load.temperature is not None else []
    if load.memory_used is not None and load.memory_total:
        parts.append(f"{load.memory_used / 1e9:.0f}/{load.memory_total / 1e9:.0f} GB")
    parts += [f"{len(slots)} jobs"] if len(slots) > 1 else []
    parts += [f"speed {sum(speeds) / len(speeds):.0%}"] if speeds else []
    return _meter(words.sanitize_line(name, NODE_NAME), load.busy, " ".join(parts))


def _together(loads: Sequence[Load]) -> Load:
    """Return the load of a node from those of its jobs. Each job on a GPU tells of its own card; the others of the same processors."""
    if not loads or loads[0].temperature is None:
        return loads[-1] if loads else Load()
    busy = [load.busy for load in loads if load.busy is not None]
    return Load(
        busy=sum(busy) / len(busy) if busy else None,
        memory_used=sum(load.memory_used or 0 for load in loads),
        memory_total=sum(load.memory_total or 0 for load in loads),
        temperature=max(load.temperature or 0 for load in loads),
    )


class Reading(NamedTuple):
    """What the graphs show of one moment. None: it cannot be read.

    Attributes:
        load: Percent, the mean of all GPUs, or that of the CPU without a GPU.
        memory: Bytes, of all GPUs together, or the memory of the machine without a GPU.
        memory_total: Bytes.
        temperature: Degrees Celsius of the hottest GPU.
    """

    load: float | None
    memory: int | None
    memory_total: int | None
    temperature: int | None

    @classmethod
    def of(cls, machine: Machine) -> Reading:
        """Return the reading of a machine."""
        if not machine.gpus:
            return cls(machine.cpu_percent, machine.memory_used, machine.memory_total, None)
        loads = [gpu.utilisation for gpu in machine.gpus if gpu.utilisation is not None]
        known = [(gpu.memory_used, gpu.memory_total) for gpu in machine.gpus if gpu.memory_used is not None]
        return cls(
            load=sum(loads) / len(loads) if loads else None,
            memory=sum(used for used, _ in known) if known else None,
            memory_total=sum(total or 0 for _, total in known) if known else None,
            temperature=max((gpu.temperature for gpu in machine.gpus if gpu.temperature is not None), default=None),
        )


def graphs(readings: Iterable[Reading], width: int, height: int) -> list[Content]:
    """Return graphs of the load, the memory and the temperature over time, each below its scale, the newest at the right.

    Args:
        readings: The readings, the newest last.
        width: Columns, one for each reading.
        height: Rows for all graphs. Where not all fit, the first ones are shown; [] if none fits.
    """
    newest = list(readings)[-width:] if width > 0 else []
    drawn = [(name, shares) for name, shares in _histories(newest) if any(share is not None for share in shares)]
    count = min(len(drawn), max(height // SHORT, height >= SHORTEST))
    rows: list[Content] = []
    for index, (name, shares) in enumerate(drawn[:count]):
        tall = min(TALLEST, height // count + (index < height % count)) - 1
        rows += [Content.styled(name[:width], "$foreground 60%"), *_graph(shares, width, tall)]
    return rows


def _histories(readings: Sequence[Reading]) -> list[tuple[str, list[float | None]]]:
    """Return the name of each graph with its scale, and its values as shares of the scale."""
    total = max((reading.memory_total or 0 for reading in readings), default=0)
    coldest, hottest = TEMPERATURES
    loads = [reading.load for reading in readings]
    memories = [reading.memory for reading in readings]
    temperatures = [reading.temperature for reading in readings]
    return [
        ("load 0–100%", [None if value is None else value / 100 for value in loads]),
        (
            f"memory 0–{total / 1e9:.0f} GB",
            [value / total if value is not None and total else None for value in memories],
        ),
        (
            f"temperature {coldest}–{hottest}°C",
            [None if value is None else (value - coldest) / (hottest - coldest) for value in temperatures],
        ),
    ]


def _graph(shares: Sequence[float | None], width: int, height: int) -> list[Content]:
    """Return shares over time as rows of blocks, coloured by their height. Nothing is drawn for None."""
    eighths = [0 if share is None else round(min(1.0, max(0.0, share)) * height * 8) for share in shares]
    rows = []
    for row in reversed(range(height)):
        blocks = "".join(" ▁▂▃▄▅▆▇█"[min(8, max(0, value - 8 * row))] for value in eighths)
        level = (row + 0.5) / height
        tone = "$text-error" if level > HIGH else "$warning" if level > MEDIUM else "$success"
        rows.append(Content.styled(blocks.rjust(width), tone))
    return rows


def machine_summary(machine: Machine) -> str:
    """Return a short summary of the first GPU, or of the CPU if there is no GPU."""
    if machine.gpus:
        gpu = machine.gpus[0]
        parts = [f"{gpu.utilisation}%" if gpu.utilisation is not None else "n/a"]
        parts += [f"{gpu.temperature}°C"] if gpu.temperature is not None else []
        parts += [f"{gpu.memory_used / 1e9:.0f} GB"] if gpu.memory_used is not None else []
        return "GPU " + " ".join(parts)
    return f"CPU {machine.cpu_percent:.0f}%" if machine.cpu_percent is not None else "CPU n/a"


def machine_warnings(machine: Machine) -> list[str]:
    """Return warnings about GPUs that are throttled or used by other processes."""
    warnings = []
    for index, gpu in enumerate(machine.gpus):
        warnings += [f"{index} throttled: {gpu.throttled}"] if gpu.throttled else []
        warnings += [f"{index} used by others: {words.memory(gpu.others)}"] if gpu.others else []
    return warnings


def _gpu_lines(index: int, gpu: Gpu) -> list[Content]:
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


def _core_blocks(percent: Sequence[float]) -> str:
    """Return a block for each core. With many cores, a block is the mean of adjacent cores."""
    width = min(len(percent), MOST_CORES)
    cuts = [len(percent) * i // width for i in range(width + 1)] if width else []
    means = [sum(percent[a:b]) / (b - a) for a, b in itertools.pairwise(cuts)]
    return "".join(words.BLOCKS[min(7, int(mean / 100 * 8))] for mean in means)


def _meter(name: str, percent: float | None, tail: str = "") -> Content:
    """Return a percentage with a bar, followed by `tail`."""
    if percent is None:
        return Content(f"{name} n/a {tail}".rstrip())
    full, rest = words.bar(percent / 100, 6)
    return Content.assemble(f"{name} {percent:3.0f}% ", (full, "$accent"), (rest, "$foreground 25%"), f" {tail}")
