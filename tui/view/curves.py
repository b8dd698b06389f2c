"""Parse, smooth and thin loss curves."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from nanochat.contract import metrics

SMOOTHING = 0.9  # weight of the previous mean in the running mean


@dataclass
class Curve:
    """The training loss in nats as a function of the progress, from 0 to 1."""

    progress: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    _means: list[float] = field(default_factory=list, init=False, repr=False, compare=False)  # of the losses so far
    _sums: tuple[float, float] = field(
        default=(0.0, 0.0), init=False, repr=False, compare=False
    )  # of losses and weights

    def add(self, line: str) -> None:
        """Add a line of metrics.jsonl. Invalid lines and values that are not finite are ignored."""
        point = metrics.point(line)
        if point is not None and "loss" in point.values:
            self.progress.append(point.progress)
            self.loss.append(point.values["loss"])

    def smooth(self) -> Sequence[float]:
        """Return exponential moving averages of the loss, corrected for the bias at the start. Only new points are computed."""
        mean, weight = self._sums
        for value in self.loss[len(self._means) :]:
            mean = SMOOTHING * mean + (1 - SMOOTHING) * value
            weight = SMOOTHING * weight + (1 - SMOOTHING)
            self._means.append(mean / weight)
        self._sums = mean, weight
        return self._means

    def at(self, progress: float) -> float | None:
        """Return the smoothed loss at the last point up to a progress, or None before the first point."""
        points = zip(reversed(self.progress), reversed(self.smooth()), strict=True)
        return next((value for where, value in points if where <= progress), None)


def thin(xs: Sequence[float], ys: Sequence[float], count: int) -> tuple[list[float], list[float]]:
    """Reduce a curve to at most `count` points by averaging sections of equal length."""
    if len(xs) <= count or count < 1:
        return list(xs), list(ys)
    cuts = [len(xs) * i // count for i in range(count + 1)]
    pairs = list(itertools.pairwise(cuts))
    return [sum(xs[a:b]) / (b - a) for a, b in pairs], [sum(ys[a:b]) / (b - a) for a, b in pairs]
