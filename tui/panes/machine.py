"""The machine pane: GPUs, CPU and memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.geometry import Size

from core.machine.stats import Machine
from core.record.live import Slot
from tui.textual_internals import Static
from tui.view.machine import Reading, graphs, machine_lines, node_lines
from tui.widgets.pane import Pane

HISTORY = 400  # readings that are kept


class MachinePane(Pane):
    """A line for each busy node of a cluster, two for each GPU, then the CPU, the memory and the trainer. Then graphs over time."""

    NUMBER: ClassVar[int] = 4
    NAME: ClassVar[str] = "machine"

    def __init__(self) -> None:
        super().__init__()
        self._line_count = -1
        self._readings: deque[Reading] = deque(maxlen=HISTORY)  # the newest last
        self._machine = Machine()
        self._slots: tuple[Slot, ...] = ()
        self._room = Size(0, 0)  # that it is drawn for

    def compose(self) -> ComposeResult:
        yield Static(id="figures")

    def show(self, machine: Machine, slots: Sequence[Slot] = ()) -> None:
        """Show the figures of this machine, and of those of a cluster on which jobs run."""
        self._machine, self._slots = machine, tuple(slots)
        self._readings.append(Reading.of(machine))
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        if self.scrollable_content_region.size != self._room:
            self._draw()

    def _draw(self) -> None:
        lines = [*node_lines(self._slots), *machine_lines(self._machine)]
        room = self._room = self.scrollable_content_region.size
        lines += graphs(self._readings, room.width, room.height - len(lines))
        self.query_one("#figures", Static).update(Content("\n").join(lines), layout=len(lines) != self._line_count)
        self._line_count = len(lines)
