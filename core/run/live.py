"""What is happening this second, for `status` and the app: a small file, rewritten at most once a second. No history."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from core.judging.schedule import Work
from core.text import clean, clean_lines

NAME = "live.json"
EVERY_S = 0.5
STREAM, PHASE = 1500, 60  # characters of the agent's latest words, and of what it does


class Live:
    """Writer of `live.json`: {"t", "waiting", "proposing", "phase", "slots": [{"number", "role", "phase", "progress", ...}]}."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._slots: dict[int, dict[str, Any]] = {}
        self._waiting: dict[str, Any] | None = None
        self._proposing = self._stopping = False
        self._stream = ""
        self._phase = ""
        self._written = 0.0

    def hear(self, text: str) -> None:
        """The agent's words so far."""
        self._stream = clean_lines(text[-STREAM:])
        self._flush()

    def doing(self, phase: str) -> None:
        """What the agent does just now: asking, unloading, waiting for memory; "" for none of these. Written at once."""
        if phase != self._phase:
            self._phase, self._written = clean(phase, PHASE), 0.0
            self._flush()

    def update(self, slot: int, work: Work, message: dict[str, Any]) -> None:
        """A progress message of the harness for the job in this slot."""
        self._slots[slot] = {"slot": slot, "number": work.number, "role": work.role, **message}
        self._flush()

    def forget(self, slot: int) -> None:
        self._slots.pop(slot, None)

    def write(self, waiting: dict[str, Any] | None, *, proposing: bool, stopping: bool = False) -> None:
        self._waiting, self._proposing, self._stopping = waiting, proposing, stopping
        self._stream = self._stream if proposing else ""
        self._flush()

    def _flush(self) -> None:
        now = time.monotonic()
        if now - self._written < EVERY_S:
            return
        self._written = now
        content = {
            "t": round(time.time(), 2),
            "waiting": self._waiting,
            "proposing": self._proposing,
            "stopping": self._stopping,
            "phase": self._phase,
            "stream": self._stream,
            "slots": [self._slots[index] for index in sorted(self._slots)],
        }
        draft = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # a full disk must not end the night for a progress bar
            draft.write_text(json.dumps(content))
            os.replace(draft, self._path)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()


def read(folder: Path) -> dict[str, Any]:
    """The last written picture, {} when there is none."""
    try:
        content = json.loads((folder / NAME).read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
