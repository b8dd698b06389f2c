"""The figures of the machines of a cluster."""

from __future__ import annotations

from core.model import Role
from core.record.live import Load, Slot
from tui.view.machine import node_lines


def job(slot: int, node: str, load: Load | None = None, speed: float | None = None) -> Slot:
    return Slot(slot=slot, number=slot + 1, role=Role.CANDIDATE, job=f"j{slot}", node=node, load=load, speed=speed)


def test_a_line_for_each_node_with_what_is_known_of_it() -> None:
    card = Load(busy=93, memory_used=40_000_000_000, memory_total=80_000_000_000, temperature=61)
    lines = [line.plain for line in node_lines([job(0, "second", card), job(1, "first"), job(2, "")])]
    assert len(lines) == 2, "the loop's own machine has lines of its own"
    assert lines[0] == "first n/a"
    assert lines[1].startswith("second  93% ") and lines[1].endswith("61°C 40/80 GB")


def test_jobs_on_one_node_share_its_line() -> None:
    load = Load(busy=50.0, memory_used=8_000_000_000, memory_total=24_000_000_000)
    (line,) = node_lines([job(0, "second", load, 0.98), job(1, "second", None, 1.0)])
    assert line.plain.startswith("second  50% ") and line.plain.endswith("8/24 GB 2 jobs speed 99%")


def test_each_job_on_a_gpu_tells_of_its_own_card() -> None:
    loads = [
        Load(busy=busy, memory_used=used, memory_total=80_000_000_000, temperature=heat)
        for busy, used, heat in ((90, 40_000_000_000, 61), (50, 20_000_000_000, 70))
    ]
    (line,) = node_lines([job(index, "second", load) for index, load in enumerate(loads)])
    assert line.plain.startswith("second  70% ") and line.plain.endswith("70°C 60/160 GB 2 jobs")


def test_a_name_cannot_break_the_line() -> None:
    (line,) = node_lines([job(0, "\x1b[2J" + "long name of a node")])
    assert "\x1b" not in line.plain and len(line.plain) < 20
