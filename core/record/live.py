"""What is happening this second, as the loop last wrote it to a small file of the run. No history.

The loop may be of another version than the reader: fields that are not known are passed over.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from core.model import Role

NAME = "live.json"


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """A proposal that waits for a human."""

    number: int
    left_s: float  # until it is approved without an answer
    held: bool  # the countdown stands still


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """A running job, and how far it has come. For the figures see `nanochat.contract.messages.Progress`."""

    slot: int
    number: int | None  # of the experiment
    role: Role
    job: str
    phase: str = "starting"
    step: int = 0
    loss: float | None = None
    progress: float = 0.0
    charged_s: float = 0.0
    tokens_per_s: float | None = None
    wall_s: float = 0.0
    speed: float | None = None


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """All that a loop does just now."""

    t: float = 0.0  # seconds since the epoch when this was written; 0 where nothing was
    waiting: Waiting | None = None
    proposing: bool = False
    stopping: bool = False
    phase: str = ""  # what the agent does: asking, unloading, waiting for memory
    stream: str = ""  # the agent's latest words
    slots: tuple[Slot, ...] = ()


def read(folder: Path) -> Picture:
    """The last written picture, an empty one where none can be read."""
    try:
        return msgspec.json.decode((folder / NAME).read_bytes(), type=Picture)
    except (OSError, msgspec.MsgspecError):
        return Picture()
