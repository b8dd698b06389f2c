"""All uses of undocumented attributes of Textual, for version 8.2.8.

Most of them avoid unnecessary drawing. Another version of Textual may need changes here;
tests/tui/test_textual_internals.py fails if another version is installed. Two undocumented methods are overridden elsewhere:
`run_input_thread` of the drivers, which also call `_post_message`, and `_fatal_error` of the app.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Self, cast

from rich.console import Console, RenderableType
from rich.control import Control
from rich.text import Text
from textual import events
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.app import App
from textual.content import Content
from textual.driver import Driver
from textual.geometry import Region
from textual.message import Message
from textual.reactive import Reactive
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import DataTable
from textual.widgets import Static as TextualStatic
from textual.widgets.data_table import ColumnKey

from tui.view.cells import Line, cells_of, changed_runs

TEXTUAL_VERSION = "8.2.8"
WHOLE_S = 60.0  # after so long the next updates are written as a whole, in case another program wrote to the terminal


class QuietScreen(Screen[None]):
    """A screen that is not redrawn when the focus moves. Only the two affected widgets are redrawn."""

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)


class ChangedCells(CompositorUpdate):
    """An update of the terminal that writes some pieces of lines, as tuples (column, line, content)."""

    def __init__(self, pieces: list[tuple[int, int, Strip]]) -> None:
        self.pieces = pieces

    def render_segments(self, console: Console) -> str:
        return "".join(Control.move_to(x, y).segment.text + strip.render(console) for x, y, strip in self.pieces)


class Shown:
    """The cells that the terminal shows. An update is reduced to those that differ.

    Textual writes all lines of a widget that has changed, up to its edges. In a status line often only two digits are others.
    """

    def __init__(self) -> None:
        self._lines: dict[int, Line] = {}
        self._since = 0.0  # when they began to be remembered

    def forget(self) -> None:
        """Let the next updates be written as a whole. Another program may have written to the terminal."""
        self._lines, self._since = {}, time.monotonic()

    def reduced(self, update: RenderableType | None) -> RenderableType | None:
        """Return an update without the cells that are shown already; None if nothing is left. The cells count as shown then."""
        if update is not None and time.monotonic() - self._since > WHOLE_S:
            self.forget()
        if isinstance(update, ChopsUpdate):
            pieces = [piece for x, y, strip in _chops(update) for piece in self._changed(x, y, strip)]
            return cast(RenderableType, ChangedCells(pieces)) if pieces else None
        if isinstance(update, LayoutUpdate):  # of the whole screen
            self._lines = {
                y: [cell for strip in line for cell in cells_of(strip)]
                for y, line in enumerate(update.strips, update.region.y)
            }
        elif update is not None:
            self.forget()
        return update

    def _changed(self, x: int, y: int, strip: Strip) -> Iterator[tuple[int, int, Strip]]:
        line, cells = self._lines.setdefault(y, []), cells_of(strip)
        end = x + len(cells)
        line += [None] * (end - len(line))
        for first, last in changed_runs(line[x:end], cells):
            yield x + first, y, strip.crop(first, last)
        line[x:end] = cells


def _chops(update: ChopsUpdate) -> Iterator[tuple[int, int, Strip]]:
    """Yield the pieces of lines in an update, as tuples (column, line, content)."""
    for y, left, right in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is not None and x < right and end > left:
                yield x, y, strip


class FrugalApp(App[str]):
    """An app that writes only those cells to the terminal that have changed."""

    def __init__(self, driver_class: type[Driver]) -> None:
        super().__init__(driver_class=driver_class)
        self._shown = Shown()

    def on_mount(self) -> None:
        self.app_resume_signal.subscribe(self, lambda _: self._shown.forget(), immediate=True)

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        writes = not (self._batch_count or self._closed or self.is_headless) and self._running
        super()._display(screen, self._shown.reduced(renderable) if writes else renderable)


class Static(TextualStatic):
    """A text whose height is that of its last content.

    If the screen is laid out between two updates that come soon after each other, Textual takes the height of the first content for
    that of the second one, which is then cut off or has blank lines below it.
    """

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        if (
            layout and self._layout_required
        ):  # asked for before, but maybe computed since, and remembered under this number
            self._layout_updates += 1
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)


def change_focus(widget: Widget, event: events.Focus | events.Blur) -> None:
    """Handle a change of focus like Textual, but without updating styles.

    Textual computes the styles of all children and redraws them, which takes 0.1 seconds for a large pane. Use this for widgets
    whose style does not depend on the focus. They also need a `watch_has_focus` that does nothing.
    """
    event.prevent_default()
    has_focus = isinstance(event, events.Focus)
    widget.has_focus = has_focus
    message: Message = events.DescendantFocus(widget) if has_focus else events.DescendantBlur(widget)
    if widget.parent is not None:
        widget.parent.post_message(message)


def set_border_text(widget: Widget, title: str, subtitle: str | Content, style: str = "") -> None:
    """Set the title and subtitle of a border as plain text, or the latter with styles, and redraw only their lines. `style` is that of the title.

    The documented attributes redraw the whole widget, but countdowns and losses change every second.
    """
    before = widget._border_title, widget._border_subtitle
    after = (Content.styled(title, style) if title else None, Content.assemble(subtitle) if subtitle else None)
    widget._border_title, widget._border_subtitle = after
    width, height = widget.outer_size
    for line, old, new in zip((0, height - 1), before, after, strict=True):
        same = old is new if old is None or new is None else old.is_same(new)
        if width and not same:
            widget.refresh(Region(0, line, width, 1).translate(-widget.content_offset))


def set_column_width(table: DataTable[Text], key: ColumnKey, width: int) -> None:
    """Change the width of a table's column without rebuilding its rows."""
    column = table.columns[key]
    if column.width != width:
        column.width = width
        table._clear_caches()
        table._require_update_dimensions = True
        table.refresh()


def unhandled_error(app: App[str]) -> BaseException | None:
    """Return the exception that ends the app, or None."""
    return app._exception
