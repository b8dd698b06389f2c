"""The present activity of a loop, which it writes to `live.json` in the run's folder. It has no history.

The reader may be of another version than the loop: unknown fields are ignored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from core.model import Role

NAME = "live.json"

Bytes = Annotated[int, msgspec.Meta(ge=0, lt=1 << 60)]


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal that waits for a human."""

    number: int
    left_s: float  # seconds until it is approved without an answer
    held: bool  # whether the countdown is stopped


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """The machine of a cluster on which a job runs: its card on a GPU, else its processors and memory.

    Attributes:
        busy: Utilisation in percent.
        memory_used: In bytes.
        memory_total: In bytes.
        temperature: In degrees Celsius; None for processors.
    """

    busy: float | None = None
    memory_used: Bytes | None = None
    memory_total: Bytes | None = None
    temperature: int | None = None


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """A running job and its progress. For the figures see `nanochat.contract.messages.Progress`."""

    slot: int
    number: int | None  # of the experiment
    role: Role
    job: str
    phase: str = "starting"  # any text, since the loop may be of a later version than the reader
    step: int = 0
    loss: float | None = None
    progress: float = 0.0
    charged_s: float = 0.0
    tokens_per_s: float | None = None
    wall_s: float = 0.0
    speed: float | None = None
    node: str = ""  # the machine of a cluster; "" for the machine of the loop
    load: Load | None = None  # of that machine


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """The present activity of a loop."""

    t: float = 0.0  # when this was written, in seconds since the epoch; 0 if there is no file
    waiting: Waiting | None = None
    proposing: bool = False
    stopping: bool = False
    phase: str = ""  # what the agent is doing: asking, unloading, waiting for memory
    stream: str = ""  # the agent's latest words
    slots: tuple[Slot, ...] = ()


def read(folder: Path) -> Picture:
    """Return the last written picture, or an empty one if it cannot be read."""
    try:
        return msgspec.json.decode((folder / NAME).read_bytes(), type=Picture)
    except (OSError, msgspec.MsgspecError):
        return Picture()
