"""The machine pane: GPUs, CPU and memory."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from core.machine.stats import Machine
from tui.view.machine import machine_lines
from tui.widgets.pane import Pane


class MachinePane(Pane):
    """Two lines for each GPU, then the CPU, the memory and the trainer."""

    NUMBER: ClassVar[int] = 4
    NAME: ClassVar[str] = "GPU"

    def __init__(self) -> None:
        super().__init__()
        self._line_count = -1

    def compose(self) -> ComposeResult:
        yield Static(id="figures")

    def show(self, machine: Machine) -> None:
        """Show the figures of the machine."""
        lines = machine_lines(machine)
        self.query_one("#figures", Static).update(Content("\n").join(lines), layout=len(lines) != self._line_count)
        self._line_count = len(lines)
