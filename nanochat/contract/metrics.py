"""The lines of metrics.jsonl, in which the harness keeps the curve of a training. Pure."""

from __future__ import annotations

import json
import math
from typing import NamedTuple


class Point(NamedTuple):
    """A point of a training curve.

    Attributes:
        step: The step, from 1.
        progress: The share of the budget that was used by then.
        values: What was logged at that step, by name. All values are finite. "loss" is in nats per token.
    """

    step: int
    progress: float
    values: dict[str, float]


def line(point: Point) -> str:
    """Return a point as a line of JSON, without a line break."""
    return json.dumps({"step": point.step, "progress": round(point.progress, 5), **point.values})


def point(line: str) -> Point | None:
    """Read one line. Values that are not finite numbers are left out. None for a line without step or progress."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    values = {name: number for name, value in content.items() if (number := _number(value)) is not None}
    step, progress = values.pop("step", None), values.pop("progress", None)
    return Point(int(step), progress, values) if step is not None and progress is not None else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # JSON has integers of any size
        return None
