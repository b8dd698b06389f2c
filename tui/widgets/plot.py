"""Plots in the colours of the theme, drawn with plotext."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.style import Style
from rich.text import Span, Text
from textual.color import Color
from textual.content import Content
from textual_plotext import PlotextPlot

MARKER = "braille"  # for curves
MOST_PICTURES = 2  # that are kept: of the plot among others, and zoomed


class Plot(PlotextPlot):
    """A plot that is drawn by a function. It is redrawn by `show`, and when its size or the theme changes."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._draw: Callable[[Plot], None] | None = None
        self._pictures: dict[object, Content] = {}  # (size, theme) -> the rendered plot

    def show(self, draw: Callable[[Plot], None]) -> None:
        """Redraw the plot with `draw`, which calls methods such as `line` and `dots`."""
        self._draw = draw
        self._pictures.clear()
        self.refresh()

    def colour(self, tone: str) -> tuple[int, int, int]:
        """Return the RGB colour of a theme variable. Unknown variables give the foreground colour."""
        variables = self.app.theme_variables
        value = variables.get(tone, variables["foreground"])
        try:
            return Color.parse(value).rgb
        except Exception:  # such as "auto" colours
            return Color.parse(variables["foreground"]).rgb

    def line(self, xs: Sequence[float], ys: Sequence[float], tone: str, marker: str = "") -> None:
        """Draw a curve. One that is drawn with a marker differs from others even without colours."""
        if marker:
            xs, ys = list(xs)[::4], list(ys)[::4]
            self.plt.scatter(xs, ys, marker=marker, color=self.colour(tone))
        else:
            self.plt.plot(xs, ys, marker=MARKER, color=self.colour(tone))

    def dots(self, xs: Sequence[float], ys: Sequence[float], tone: str, marker: str) -> None:
        """Draw a marker at each point."""
        self.plt.scatter(xs, ys, marker=marker, color=self.colour(tone))

    def label(self, text: str, x: float, y: float, tone: str) -> None:
        """Write a text, centred at a point."""
        self.plt.text(text, x, y, color=self.colour(tone), background="default", alignment="center")

    def range_x(self, low: float, high: float) -> None:
        self.plt.xlim(low, high)

    def range_y(self, low: float, high: float) -> None:
        self.plt.ylim(low, high)

    def ticks_y(self, marks: Sequence[float], labels: Sequence[str]) -> None:
        self.plt.yticks(list(marks), list(labels))

    def ticks_x(self, marks: Sequence[float], labels: Sequence[str]) -> None:
        self.plt.xticks(list(marks), list(labels))

    def render(self) -> Content:
        key = (self.size, self.app.theme)
        if key not in self._pictures:
            self.plt.clear_figure()
            self.plt.frame(False)
            self.plt.xticks([])
            if self._draw is not None:
                self._draw(self)
            picture = super().render()
            assert isinstance(picture, Text)
            is_ansi = self.app.theme_variables["background"].startswith("ansi_")
            picture = _without_background(picture, terminal_colours=is_ansi)
            while len(self._pictures) >= MOST_PICTURES:
                self._pictures.pop(next(iter(self._pictures)))
            self._pictures[key] = Content.from_rich_text(picture).simplify()
        return self._pictures[key]


def _without_background(picture: Text, *, terminal_colours: bool) -> Text:
    """Return a plot on the background of its pane, since plotext has one of its own.

    `terminal_colours`: the foreground, which plotext can then only draw in black, is the terminal's.
    """
    spans = []
    for start, end, style in picture.spans:
        drawn = style.color if isinstance(style, Style) else None
        is_black = drawn is None or drawn.get_truecolor() == (0, 0, 0)
        spans.append(Span(start, end, Style(color=None if terminal_colours and is_black else drawn)))
    return Text(picture.plain, spans=spans)
