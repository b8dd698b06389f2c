"""All uses of undocumented attributes of Textual, for version 8.2.8.

Most of them avoid unnecessary drawing. Another version of Textual may need changes here;
tests/tui/test_textual_internals.py fails if another version is installed. Two undocumented methods are overridden elsewhere:
`run_input_thread` of the drivers, which also call `_post_message`, and `_fatal_error` of the app.
"""

from __future__ import annotations

from typing import Self

from rich.text import Text
from textual import events
from textual.app import App
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.reactive import Reactive
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import DataTable
from textual.widgets import Static as TextualStatic
from textual.widgets.data_table import ColumnKey

TEXTUAL_VERSION = "8.2.8"


class QuietScreen(Screen[None]):
    """A screen that is not redrawn when the focus moves. Only the two affected widgets are redrawn."""

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)


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
