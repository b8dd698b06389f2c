"""The range of scores that a chart of a run shows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
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
