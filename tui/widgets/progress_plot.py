"""A plot of how the best of several runs has moved."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from core.reporting.axes import decimals, ticks
from core.reporting.run_comparison import Step
from tui.view import words
from tui.widgets.plot import Plot

Unit = Literal["time", "trainings"]
MARGIN = 0.05  # share of the height that is free above and below


class Stairs(NamedTuple):
    """The steps of a run with their tone. Stairs that are drawn with a marker differ from others even without colours."""

    steps: Sequence[Step]
    tone: str
    marker: str = ""


def draw_progress(plot: Plot, runs: Sequence[Stairs], unit: Unit) -> None:
    """Draw the change of the best against the start of each run, the last one on top. Lower is better."""
    values = [step.change for run in runs for step in run.steps]
    last = max((_x(step, unit) for run in runs for step in run.steps), default=0.0) or 1.0
    if not values:
        return
    bottom, top = min(values), max(values)
    margin = (top - bottom) * MARGIN or 0.001
    for run in runs:
        xs, ys = _corners(run.steps, unit)
        if run.marker:
            columns = max(1, plot.size.width)
            points = [(x, y) for x in (last * i / columns for i in range(columns)) if (y := _at(xs, ys, x)) is not None]
            plot.dots([x for x, _ in points], [y for _, y in points], run.tone, run.marker)
        elif xs:
            plot.line(xs, ys, run.tone)
    plot.range_x(0.0, last)
    plot.range_y(bottom - margin, top + margin)
    end = words.duration(last * 3600) if unit == "time" else f"{last:.0f}"
    plot.ticks_x([0.0, last / 2, last], ["0", unit, end])
    marks = ticks(bottom, top, max(2, plot.size.height // 3)) if top > bottom else [0.0]
    digits = decimals(marks) if top > bottom else 0
    plot.ticks_y(marks, [f"{mark + 0.0:+.{digits}f} ".replace("-", "−") if mark else "0 " for mark in marks])


def _x(step: Step, unit: Unit) -> float:
    return step.hours if unit == "time" else float(step.trainings)


def _corners(steps: Sequence[Step], unit: Unit) -> tuple[list[float], list[float]]:
    """Return the corners of stairs: a change stays until the next one."""
    xs, ys = [_x(step, unit) for step in steps[:1]], [step.change for step in steps[:1]]
    for before, step in pairwise(steps):
        xs += [_x(step, unit)] * 2
        ys += [before.change, step.change]
    return xs, ys


def _at(xs: Sequence[float], ys: Sequence[float], x: float) -> float | None:
    """Return the height of stairs at a position; None behind their end."""
    if not xs or x > xs[-1]:
        return None
    return next((y for at, y in zip(reversed(xs), reversed(ys), strict=True) if at <= x), None)
