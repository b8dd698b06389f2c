"""What a trainer leaves in the folder of its attempt: the text it printed, and the curve of what it logged. Both are bounded."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path

TAIL = 2000  # characters of its output that are searched for what ended it
METRICS_LINES = 4000  # a curve that grows longer is thinned to every second point
ESCAPES = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|[@-Z\\-_]|\][^\x07\x1b]*(\x07|\x1b\\))|[\x00-\x08\x0b-\x1f\x7f]")


def plain(text: str) -> str:
    """No escape sequences, no control characters but line ends and tabs."""
    return ESCAPES.sub(b"", text.encode(errors="replace")).decode(errors="replace")


class Output:
    """The pipe that a trainer prints to. Its first bytes are kept in output.txt, cleaned; the rest is read and forgotten."""

    def __init__(self, reader: int, folder: Path, room: int) -> None:
        """`room`: bytes that may be kept. `reader` must not block."""
        self.reader, self.room = reader, room
        self.tail = ""  # the last of what it printed
        self._path = folder / "output.txt"

    def drain(self) -> None:
        """Read what has come, without waiting."""
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
    """metrics.jsonl: a line for each step that is kept, with its figures."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "metrics.jsonl"
        self._lines: list[str] = []
        self._every, self._seen = 1, 0

    def add(self, step: int, progress: float, values: dict[str, float]) -> None:
        """Write one point, or leave it out where the curve was thinned. `values` are finite."""
        self._seen += 1
        if not values or self._seen % self._every:
            return
        self._lines.append(json.dumps({"step": step, "progress": round(progress, 5), **values}))
        with contextlib.suppress(OSError):
            if len(self._lines) > METRICS_LINES:
                self._lines = self._lines[::2]
                self._every *= 2
                self._path.write_text("\n".join(self._lines) + "\n")
            else:
                with self._path.open("a") as file:
                    file.write(self._lines[-1] + "\n")
