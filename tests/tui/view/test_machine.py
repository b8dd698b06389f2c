"""The figures of the machines of a cluster, and the graphs of this machine."""

from __future__ import annotations

import pytest

from core.machine.stats import Gpu, Machine
from core.model import Role
from core.record.live import Load, Slot
from tui.view.machine import Reading, graphs, node_lines


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


CARD = Gpu("H", 80 * 10**9, 40 * 10**9, 100, 60)
OTHER = Gpu("H", 80 * 10**9, 20 * 10**9, 50, 76)


def drawn(machine: Machine, height: int, readings: int = 5) -> list[str]:
    return [line.plain for line in graphs([Reading.of(machine)] * readings, 20, height)]


def test_the_height_holds_a_graph_of_each_figure_below_its_scale() -> None:
    rows = drawn(Machine(gpus=(CARD, OTHER)), 15)
    assert [rows[at] for at in (0, 5, 10)] == ["load 0–100%", "memory 0–160 GB", "temperature 20–100°C"]
    filled = [sum("█" in row for row in rows[at + 1 : at + 5]) for at in (0, 5, 10)]
    assert filled == [3, 1, 2], "the mean of both cards, their memory together, and the hotter one"


def test_a_machine_without_a_gpu_shows_processors_and_memory() -> None:
    rows = drawn(Machine(25.0, memory_used=8 * 10**9, memory_total=16 * 10**9), 10)
    assert [rows[0], rows[5]] == ["load 0–100%", "memory 0–16 GB"]
    assert [row.count("█") for row in rows] == [0, 0, 0, 0, 5, 0, 0, 0, 5, 5]


@pytest.mark.parametrize(("height", "scales"), [(1, 0), (2, 1), (3, 1), (5, 1), (6, 2), (9, 3), (60, 3)])
def test_where_not_all_graphs_fit_the_first_ones_are_drawn(height: int, scales: int) -> None:
    rows = drawn(Machine(gpus=(CARD,)), height)
    assert sum("–" in row for row in rows) == scales and len(rows) <= height


def test_a_figure_that_cannot_be_read_has_no_graph_and_leaves_a_gap() -> None:
    assert drawn(Machine(), 12) == []
    readings = [Reading.of(Machine(100.0)), Reading.of(Machine()), Reading.of(Machine(100.0))]
    assert [line.plain for line in graphs(readings, 3, 3)] == ["loa", "█ █", "█ █"]
