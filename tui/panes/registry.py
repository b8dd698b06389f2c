"""All panes, in the order of the screen and of the tabs. A new one needs a row in `ENTRIES` and its style, `<name>.tcss`."""

from __future__ import annotations

from core.target import TARGET
from nanochat.contract.registry import Entry
from tui.panes.activity import ActivityPane
from tui.panes.change import ChangePane
from tui.panes.experiments import ExperimentsPane
from tui.panes.loss import LossPane
from tui.panes.machine import MachinePane
from tui.panes.night import NightPane
from tui.panes.program import ProgramPane
from tui.widgets.pane import Pane

ENTRIES: tuple[Entry[type[Pane] | type[ExperimentsPane]], ...] = (
    Entry(
        "program",
        "Your charter: what to research and what to leave alone. `m` edits it; the next proposal uses it.",
        ProgramPane,
    ),
    Entry(
        "change",
        "The hypothesis and the diff of the selected experiment, or of the proposal that waits for you.",
        ChangePane,
    ),
    Entry(
        "loss",
        "The training loss (nats per token, smoothed) over progress, beside that of the best train.py. Below: a small curve, "
        "the difference from the best at equal progress, time left, and tokens per second. `L` switches the log scale.",
        LossPane,
    ),
    Entry(
        "machine",
        "Each GPU's load, memory, temperature, power and clock, the CPU's cores and the memory. Below, as far as there is room, the load, the "
        "memory and the temperature over time; of several GPUs the mean load, all memory and the hottest one.",
        MachinePane,
    ),
    Entry(
        "experiments",
        "Every experiment, with its verdict. The words are explained at the end of this page.",
        ExperimentsPane,
    ),
    Entry(
        "night",
        f"{TARGET.metric} of every experiment in order: ● kept, • not kept, × failed, and the best so far as a staircase with its noise. "
        "Failed and far worse experiments are drawn at the upper edge.",
        NightPane,
    ),
    Entry(
        "activity",
        "What the loop did, what the agent says while it thinks, and the trainer's last lines.",
        ActivityPane,
    ),
)
