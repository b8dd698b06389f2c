"""Loss curves: read as they grow, smoothed, thinned out. And the last lines of what a trainer prints. Pure but for what reads files."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

SMOOTHING = 0.9  # share of the past in the running mean


@dataclass
class Curve:
    """Training loss in nats over progress in [0, 1]."""

    progress: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)

    def add(self, line: str) -> None:
        """A line of metrics.jsonl; anything else, and figures that are not finite, are left out."""
        try:
            content = json.loads(line)
            progress, loss = float(content["progress"]), float(content["loss"])
        except (ValueError, KeyError, TypeError):
            return
        if math.isfinite(progress) and math.isfinite(loss):
            self.progress.append(progress)
            self.loss.append(loss)

    def smooth(self) -> list[float]:
        """Running means, corrected for their start."""
        means, mean, weight = [], 0.0, 0.0
        for value in self.loss:
            mean = SMOOTHING * mean + (1 - SMOOTHING) * value
            weight = SMOOTHING * weight + (1 - SMOOTHING)
            means.append(mean / weight)
        return means

    def at(self, progress: float) -> float | None:
        """The smoothed loss at the last point up to a progress."""
        found = [value for where, value in zip(self.progress, self.smooth(), strict=True) if where <= progress]
        return found[-1] if found else None


class Tail:
    """Follows one metrics.jsonl. The file may be thinned out and rewritten meanwhile; then it is read afresh."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.curve = Curve()
        self._seen: tuple[int, int] = (0, 0)  # inode, bytes read

    def read(self) -> bool:
        """Take in what is new; whether there was something."""
        try:
            status = self.path.stat()
            if (status.st_ino, status.st_size) == self._seen:
                return False
            if status.st_ino != self._seen[0] or status.st_size < self._seen[1]:
                self.curve, self._seen = Curve(), (status.st_ino, 0)
            with self.path.open("rb") as file:
                file.seek(self._seen[1])
                data = file.read()
        except OSError:
            return False
        end = data.rfind(b"\n") + 1
        for line in data[:end].decode("utf-8", "replace").splitlines():
            self.curve.add(line)
        self._seen = (status.st_ino, self._seen[1] + end)
        return end > 0


def thin(xs: Sequence[float], ys: Sequence[float], count: int) -> tuple[list[float], list[float]]:
    """At most about `count` points: the means of equal stretches."""
    if len(xs) <= count or count < 1:
        return list(xs), list(ys)
    cuts = [len(xs) * i // count for i in range(count + 1)]
    pairs = list(itertools.pairwise(cuts))
    return [sum(xs[a:b]) / (b - a) for a, b in pairs], [sum(ys[a:b]) / (b - a) for a, b in pairs]


def last_lines(path: Path, count: int = 2) -> list[str]:
    """The last lines of a file that grows; none where there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 2000))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]
