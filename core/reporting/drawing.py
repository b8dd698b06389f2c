"""Drawings as data: lines, areas, marks and texts in pixels, and their SVG. Pure.

A chart is laid out once as a `Drawing`. `svg` writes it for a page, `core.reporting.picture` as a PNG.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from html import escape
from typing import Literal

from core.text import sanitize_line

Colour = Literal["paper", "ink", "muted", "grid", "best", "band", "other", "bad", "good"]
Anchor = Literal["start", "middle", "end"]
Shape = Literal["dot", "cross", "up", "down"]
Point = tuple[float, float]  # x to the right and y downwards, in pixels

# Name -> on a light and on a dark background. Blue and vermilion can be told apart with any colour vision.
PALETTE: dict[Colour, tuple[str, str]] = {
    "paper": ("#ffffff", "#14181d"),
    "ink": ("#1b2026", "#e7eaee"),
    "muted": ("#5d6875", "#9aa5b1"),
    "grid": ("#e4e8ec", "#2b323a"),
    "best": ("#0b62bf", "#62adff"),
    "band": ("#dbe8f6", "#1d3048"),
    "other": ("#98a2ad", "#6c7783"),
    "bad": ("#b8500a", "#f0914a"),
    "good": ("#0b6e63", "#47c2b1"),
}
NARROW = frozenset("iljtfrI.,:;'|!()[] ")


@dataclass(frozen=True)
class Line:
    """A line through points. `width` in pixels."""

    points: tuple[Point, ...]
    colour: Colour
    width: float = 1.0


@dataclass(frozen=True)
class Area:
    """A filled polygon."""

    points: tuple[Point, ...]
    colour: Colour


@dataclass(frozen=True)
class Mark:
    """A mark of `radius` pixels around a point. `title`: what a page shows while the pointer is on it."""

    at: Point
    colour: Colour
    shape: Shape = "dot"
    radius: float = 3.0
    title: str = ""
    rim: bool = False  # whether it has a rim in the colour of the paper


@dataclass(frozen=True)
class Text:
    """A text whose baseline begins, is centred or ends at a point. `size` in pixels."""

    at: Point
    text: str
    size: float
    colour: Colour = "ink"
    anchor: Anchor = "start"
    bold: bool = False
    halo: bool = False  # whether it has a rim in the colour of the paper, to be read on top of lines


@dataclass(frozen=True)
class Drawing:
    """Shapes in a rectangle, the first one at the back. `title`: what it shows, for people who cannot see it."""

    width: float
    height: float
    shapes: tuple[Line | Area | Mark | Text, ...]
    title: str = ""


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Return whether the rectangles share more than an edge."""
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.bottom <= other.top or other.bottom <= self.top)

    def inside(self, other: Box) -> bool:
        """Return whether this rectangle lies within the other one."""
        across = other.left <= self.left and self.right <= other.right
        return across and other.top <= self.top and self.bottom <= other.bottom


def width_of(text: str, size: float, *, bold: bool = False) -> float:
    """Return about how wide a text is, in pixels; rather too much, since the fonts of a page are not known."""
    units = sum(
        1.0 if unicodedata.east_asian_width(c) in "WF" else 0.36 if c in NARROW else 0.72 if c.isupper() else 0.61
        for c in text
    )
    return units * size * (1.1 if bold else 1.0)


def box_of(text: Text) -> Box:
    """Return about the rectangle that a text covers."""
    wide = width_of(text.text, text.size, bold=text.bold)
    left = text.at[0] - {"start": 0.0, "middle": wide / 2, "end": wide}[text.anchor]
    return Box(left, text.at[1] - 0.9 * text.size, left + wide, text.at[1] + 0.3 * text.size)


def cut(text: str, size: float, wide: float, *, bold: bool = False) -> str:
    """Return the text, cut with an ellipsis at a word if it is wider than `wide` pixels."""
    if width_of(text, size, bold=bold) <= wide:
        return text
    kept = text
    while kept and width_of(kept + "…", size, bold=bold) > wide:
        kept = kept[:-1]
    whole = kept.rsplit(" ", 1)[0] if " " in kept[len(kept) // 2 :] else kept
    return whole.rstrip(" ,;:.-") + "…"


def wrapped(text: str, size: float, wide: float, most: int) -> list[str]:
    """Return the text as at most `most` lines of at most `wide` pixels. The last line is cut if there is more."""
    lines, words = [""], text.split()
    for index, word in enumerate(words):
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or width_of(longer, size) <= wide:
            lines[-1] = longer
        elif len(lines) < most:
            lines.append(word)
        else:
            lines[-1] = " ".join([lines[-1], *words[index:]])
            break
    return [cut(line, size, wide) for line in lines]


# -- SVG --------------------------------------------------------------------------------------------------------------


def svg(drawing: Drawing, css_class: str = "") -> str:
    """Return the drawing as an element of an HTML page. The page defines a CSS variable for each colour."""
    shapes = "\n".join(_shape(shape) for shape in drawing.shapes)
    chosen = f' class="{css_class}"' if css_class else ""
    return (
        f'<svg{chosen} viewBox="0 0 {drawing.width:g} {drawing.height:g}" role="img" '
        f'aria-label="{escape(sanitize_line(drawing.title))}">\n{shapes}\n</svg>'
    )


def _shape(shape: Line | Area | Mark | Text) -> str:
    match shape:
        case Line():
            style = f"fill:none;stroke:var(--{shape.colour});stroke-width:{shape.width:g};stroke-linejoin:round"
            return f'<polyline points="{_points(shape.points)}" style="{style}" />'
        case Area():
            return f'<polygon points="{_points(shape.points)}" style="fill:var(--{shape.colour})" />'
        case Mark():
            return _mark(shape)
        case Text():
            return _text(shape)


def _points(points: tuple[Point, ...]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _mark(mark: Mark) -> str:
    (x, y), r = mark.at, mark.radius
    colour = f"var(--{mark.colour})"
    title = f"<title>{escape(sanitize_line(mark.title))}</title>" if mark.title else ""
    rim = ";stroke:var(--paper);stroke-width:2" if mark.rim else ""
    match mark.shape:
        case "dot":
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:g}" style="fill:{colour}{rim}">{title}</circle>'
        case "cross":
            path = (
                f"M{x - r:.1f},{y - r:.1f} L{x + r:.1f},{y + r:.1f} M{x - r:.1f},{y + r:.1f} L{x + r:.1f},{y - r:.1f}"
            )
            return f'<path d="{path}" style="fill:none;stroke:{colour};stroke-width:1.8">{title}</path>'
        case "up" | "down":
            tip = -r if mark.shape == "up" else r
            path = f"M{x - r:.1f},{y - tip:.1f} L{x + r:.1f},{y - tip:.1f} L{x:.1f},{y + tip:.1f} Z"
            return f'<path d="{path}" style="fill:{colour}">{title}</path>'


def _text(text: Text) -> str:
    (x, y), weight = text.at, ";font-weight:600" if text.bold else ""
    halo = ";paint-order:stroke;stroke:var(--paper);stroke-width:3;stroke-linejoin:round" if text.halo else ""
    style = f"font-size:{text.size:g}px;fill:var(--{text.colour});text-anchor:{text.anchor}{weight}{halo}"
    return f'<text x="{x:.1f}" y="{y:.1f}" style="{style}">{escape(sanitize_line(text.text))}</text>'
