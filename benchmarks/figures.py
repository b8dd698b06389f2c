"""The statistics of truth.py, as pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from statistics import NormalDist


def sd(values: Sequence[float]) -> float:
    """Standard deviation of a sample; nan for fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else math.nan


def mean(values: Sequence[float]) -> float:
    """Mean; nan for no values."""
    return statistics.fmean(values) if values else math.nan


def mean_error(values: Sequence[float]) -> float:
    """Standard error of the mean; nan for fewer than two values."""
    return sd(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def pooled_sd(groups: Sequence[Sequence[float]]) -> float:
    """Standard deviation within groups, each around its own mean; nan without a group of two or more values."""
    groups = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in groups)
    return math.sqrt(sum(sd(group) ** 2 * (len(group) - 1) for group in groups) / freedom) if freedom else math.nan


def rms(values: Sequence[float]) -> float:
    """Root mean square; nan for no values."""
    return math.sqrt(statistics.fmean(v * v for v in values)) if values else math.nan


def shift(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Mean of `other` minus that of `one`, and its standard error (samples of unequal variance)."""
    return mean(other) - mean(one), math.hypot(mean_error(one), mean_error(other))


def chi_square(freedom: float, share: float) -> float:
    """Quantile of the chi-square distribution (Wilson and Hilferty 1931); within 2% from 3 degrees of freedom on."""
    part = 2 / (9 * freedom)
    return freedom * max(0.0, 1 - part + NormalDist().inv_cdf(share) * math.sqrt(part)) ** 3


def sd_interval(estimate: float, freedom: float, share: float = 0.8) -> tuple[float, float]:
    """Confidence interval of a standard deviation with probability `share`, for independent normal values."""
    if freedom < 1:
        return math.nan, math.nan
    low, high = (chi_square(freedom, (1 + sign * share) / 2) for sign in (1, -1))
    return estimate * math.sqrt(freedom / low), estimate * math.sqrt(freedom / high) if high > 0 else math.inf


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """Least squares: slope, its standard error, and the standard deviation of the residuals. nan if x does not vary."""
    if len(x) < 3 or len(set(x)) < 2:
        return math.nan, math.nan, math.nan
    slope, intercept = statistics.linear_regression(x, y)
    left = [b - slope * a - intercept for a, b in zip(x, y, strict=True)]
    residual = math.sqrt(sum(v * v for v in left) / (len(x) - 2))
    return slope, residual / (statistics.stdev(x) * math.sqrt(len(x) - 1)), residual


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Format rows as lines of aligned columns. The first column is left-aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def number(value: float, places: int = 4, *, sign: bool = False) -> str:
    """Format a number; a dash if it is not finite."""
    return "-" if not math.isfinite(value) else f"{value:{'+' if sign else ''}.{places}f}"


def percent(value: float, places: int = 1) -> str:
    return "-" if not math.isfinite(value) else f"{value:.{places}%}"
