"""Plots in the colours of the theme, drawn with plotext."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.text import Text
from textual.color import Color
from textual.content import Content
from textual.widget import Widget

if TYPE_CHECKING:
    from textual_plotext import Plot as Canvas

MARKER = "braille"  # for curves
MOST_PICTURES = 2  # that are kept: of the plot among others, and zoomed


class Plot(Widget):
    """A plot that is drawn by a function. It is redrawn by `show`, and when its size or the theme changes.

    Importing plotext takes 30 ms, so the first plot of the app is drawn right after the first paint.
    """

    DEFAULT_CSS = """
    Plot {
        width: 1fr;
        height: 1fr;
    }
    """

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._draw: Callable[[Plot], None] | None = None
        self._pictures: dict[object, Content] = {}  # (size, theme) -> the rendered plot
        self._canvas: Canvas | None = None

    @property
    def plt(self) -> Canvas:
        """The functions of plotext, for functions that draw."""
        assert self._canvas is not None
        return self._canvas

    def show(self, draw: Callable[[Plot], None]) -> None:
        """Redraw the plot with `draw`, which calls methods such as `line` and `dots`."""
        self._draw = draw
        self._pictures.clear()
        if self._canvas is not None or "textual_plotext" in sys.modules:
            self._redraw()
        else:
            self.call_after_refresh(self._redraw)

    def _redraw(self) -> None:
        from textual_plotext import Plot as Canvas

        self._canvas = self._canvas or Canvas()
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
        if self._canvas is None:
            return Content("")
        key = (self.size, self.app.theme)
        if key not in self._pictures:
            while len(self._pictures) >= MOST_PICTURES:
                self._pictures.pop(next(iter(self._pictures)))
            self._pictures[key] = self._picture(self._canvas)
        return self._pictures[key]

    def _picture(self, canvas: Canvas) -> Content:
        """Draw the plot on the background of its pane."""
        canvas.clear_figure()
        is_ansi = self.app.theme_variables["background"].startswith("ansi_")
        canvas.ticks_color("default" if is_ansi else self.colour("foreground"))
        canvas.axes_color("default")
        canvas.canvas_color("default")
        canvas.frame(False)
        canvas.xticks([])
        canvas.plotsize(self.size.width, self.size.height)
        canvas._set_size(self.size.width, self.size.height)  # plotsize limits it to the terminal
        if self._draw is not None:
            self._draw(self)
        return Content.from_rich_text(Text.from_ansi(canvas.build())).simplify()
