"""The axes of charts: the range of scores that the chart of a run shows, and round values on an axis. Pure."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from itertools import pairwise
from statistics import median


def score_range(levels: Sequence[float], others: Sequence[float], sigma: float) -> tuple[float, float]:
    """Return the lowest and the highest val_bpb of a chart.

    The best decides, with room for the noise. Scores far above are drawn at the edge, so that they do not push the interesting
    part into a corner.

    Args:
        levels: val_bpb of the start and of each kept change; not empty.
        others: val_bpb of the experiments that were not kept.
        sigma: Noise of one score, in bpb.
    """
    low, high = min(levels), max(levels)
    pad = max(2.5 * sigma, 0.12 * (high - low), 1e-4)
    above = median(others) - high if others else 0.0
    top = high + min(max(above + pad, 1.2 * pad), 2 * pad + 0.5 * (high - low))
    top = max(high + 0.6 * pad, min(top, max(others, default=high) + 0.3 * pad))
    bottom = min([low - pad, *(score - pad / 2 for score in others if score > low - 3 * pad)])
    return bottom, top


def ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` round values between two values, and at least two: the two themselves if no round ones can be found."""
    rough = (high - low) / max(1, count)
    if not sys.float_info.min <= rough < math.inf:  # the difference is beyond what a number can hold
        return [low, high]
    power = 10.0 ** math.floor(math.log10(rough))
    steps = [factor * power for factor in (0.1, 0.2, 0.5, 1, 2, 5, 10) if factor * power <= rough * 1.4]
    for step in reversed(steps):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last > first:  # a single value does not show the scale
            break
    found = [index * step for index in range(first, last + 1)]
    differ = len(found) > 1 and all(a < b for a, b in pairwise(found))
    return found if differ else [low, high]


def decimals(values: Sequence[float]) -> int:
    """Return the decimal places that tell the values of an axis apart."""
    step = min((b - a for a, b in pairwise(values)), default=1.0)
    if not 0 < step < math.inf:
        return 0
    return max(0, min(6, -math.floor(math.log10(step) + 1e-9)))
