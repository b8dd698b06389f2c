"""Write a trainer's printed output and its training curve to the job's folder. Both are limited in size."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from nanochat.contract import metrics
from nanochat.contract.layout import METRICS
from nanochat.contract.metrics import Point

TAIL = 2000  # last characters of the output, which are searched for the reason of a crash
METRICS_LINES = 4000  # a longer curve is thinned to every second point
ESCAPES = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|[@-Z\\-_]|\][^\x07\x1b]*(\x07|\x1b\\))|[\x00-\x08\x0b-\x1f\x7f]")


def plain(text: str) -> str:
    """Remove escape sequences, and control characters other than line feeds and tabs."""
    return ESCAPES.sub(b"", text.encode(errors="replace")).decode(errors="replace")


class Output:
    """The pipe that a trainer prints to. The first bytes are written to output.txt without escape sequences; the rest is discarded.

    Args:
        reader: Descriptor of the pipe, non-blocking.
        folder: Folder of output.txt.
        room: Bytes to keep. Decreases as output comes.
    """

    def __init__(self, reader: int, folder: Path, room: int) -> None:
        self.reader, self.room = reader, room
        self.tail = ""  # the last characters printed
        self._path = folder / "output.txt"

    def drain(self) -> None:
        """Read the available output without waiting."""
        for _ in range(16):
            try:
                piece = os.read(self.reader, 1 << 16)
            except BlockingIOError:
                return
            if not piece:
                return
            self.tail = (self.tail + piece[-TAIL:].decode("utf-8", "replace"))[-TAIL:]
            if self.room > 0:
                clean = ESCAPES.sub(b"", piece)[: self.room]
                self.room -= len(clean)
                with contextlib.suppress(OSError), self._path.open("ab") as file:
                    file.write(clean + (b"" if self.room else b"\n[cut]\n"))


class Curve:
    """Writes metrics.jsonl, with one line for each point of the training curve."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / METRICS
        self._lines: list[str] = []
        self._every, self._seen = 1, 0

    def add(self, step: int, progress: float, values: dict[str, float]) -> None:
        """Add a point. It is left out if it has no values, or if the curve has been thinned. `values` must be finite."""
        self._seen += 1
        if not values or self._seen % self._every:
            return
        self._lines.append(metrics.line(Point(step, progress, values)))
        with contextlib.suppress(OSError):
            if len(self._lines) > METRICS_LINES:
                self._lines = self._lines[::2]
                self._every *= 2
                self._path.write_text("\n".join(self._lines) + "\n")
            else:
                with self._path.open("a") as file:
                    file.write(self._lines[-1] + "\n")
