"""Writes a drawing as a PNG with matplotlib. The only module that needs matplotlib, which takes a second to import."""

from __future__ import annotations

import io
import os
import warnings
from typing import TYPE_CHECKING

from core.reporting.drawing import PALETTE, Area, Colour, Drawing, Line, Mark, Text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 100
POINTS = 72 / DPI  # points in a pixel
MARKERS = {"dot": "o", "cross": "x", "up": "^", "down": "v"}
ANCHORS = {"start": "left", "middle": "center", "end": "right"}


def png(drawing: Drawing) -> bytes:
    """Return the drawing as a PNG of its size in pixels, on a light background.

    Raises:
        ImportError: matplotlib is not installed.
    """
    os.environ["MPLBACKEND"] = "Agg"  # the user's may name one that is not installed here
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.simplefilter("ignore")  # about characters that the font lacks
        matplotlib.rcdefaults()  # the user's matplotlibrc counts for their own figures
        figure = Figure(figsize=(drawing.width / DPI, drawing.height / DPI), dpi=DPI, facecolor=_light("paper"))
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set_xlim(0, drawing.width)
        axes.set_ylim(drawing.height, 0)
        axes.set_axis_off()
        for order, shape in enumerate(drawing.shapes):
            _draw(axes, shape, order)
        file = io.BytesIO()
        canvas.print_figure(file, format="png", dpi=DPI)
    return file.getvalue()


def _light(colour: Colour) -> str:
    return PALETTE[colour][0]


def _draw(axes: Axes, shape: Line | Area | Mark | Text, order: int) -> None:
    from matplotlib.patheffects import withStroke

    match shape:
        case Line():
            xs, ys = zip(*shape.points, strict=True)
            axes.plot(xs, ys, color=_light(shape.colour), linewidth=shape.width * POINTS, zorder=order)
        case Area():
            xs, ys = zip(*shape.points, strict=True)
            axes.fill(xs, ys, color=_light(shape.colour), linewidth=0, zorder=order)
        case Mark():
            colour = _light(shape.colour)
            axes.plot(
                *shape.at, MARKERS[shape.shape], color=colour, markersize=(2 * shape.radius + 2 * shape.rim) * POINTS,
                markeredgecolor=_light("paper") if shape.rim else colour, markeredgewidth=2 * POINTS, zorder=order,
            )  # fmt: skip
        case Text():
            halo = [withStroke(linewidth=3 * POINTS, foreground=_light("paper"))] if shape.halo else []
            axes.text(
                *shape.at, shape.text, fontsize=shape.size * POINTS, color=_light(shape.colour),
                ha=ANCHORS[shape.anchor], va="baseline", weight="bold" if shape.bold else "normal",
                parse_math=False, path_effects=halo, zorder=order, clip_on=False,
            )  # fmt: skip
