"""Lays out the picture of a run to share: the result, the chart, and where it was measured. Pure."""

from __future__ import annotations

from core.reporting.chart import Shapes, Style, progress_chart
from core.reporting.drawing import Area, Drawing, Line, Mark, Point, Text, cut, wrapped
from core.reporting.phrases import dataset, typeset
from core.reporting.report import Report

CARD = (1200.0, 675.0)  # the usual size of a picture on a social network
EDGE = 48.0  # margin


def card(report: Report) -> Drawing:
    """Return the picture to share: the result, the chart, and where it was measured."""
    width, height = CARD
    inner = width - 2 * EDGE
    shapes: Shapes = [Text((EDGE, 82.0), cut(typeset(report.title), 44, inner, bold=True), 44, bold=True)]
    y = 82.0
    for line in wrapped(typeset(report.subtitle), 22, inner, 2):
        y += 34 if y == 82.0 else 30
        shapes.append(Text((EDGE, y), line, 22, "muted"))
    top, bottom = y + 22, height - 56
    chart = progress_chart(report.progress, Style(inner, bottom - top, text=18, dot=4.5, labels=8))
    shapes += [_moved(shape, EDGE, top) for shape in chart.shapes]
    shapes.append(Text((EDGE, height - 20), cut(footer(report), 17, inner), 17, "muted"))
    return Drawing(width, height, tuple(shapes), report.title)


def footer(report: Report) -> str:
    """Return the run, the machine, the data and the budget in one line."""
    config = report.config
    machine = report.material.machine[0] if report.material.machine else config.device
    parts = ("AutoResearch", report.run, machine, dataset(config.dataset), f"{config.budget_s:g} s each")
    return " · ".join(part for part in parts if part)


def _moved(shape: Line | Area | Mark | Text, right: float, down: float) -> Line | Area | Mark | Text:
    def moved(at: Point) -> Point:
        return at[0] + right, at[1] + down

    match shape:
        case Line():
            return Line(tuple(map(moved, shape.points)), shape.colour, shape.width)
        case Area():
            return Area(tuple(map(moved, shape.points)), shape.colour)
        case Mark():
            return Mark(moved(shape.at), shape.colour, shape.shape, shape.radius, shape.title, shape.rim)
        case Text():
            return Text(moved(shape.at), shape.text, shape.size, shape.colour, shape.anchor, shape.bold, shape.halo)
