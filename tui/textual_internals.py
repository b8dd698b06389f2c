"""What the app does with the inside of Textual, all in one place.

Written for Textual 8.2.8. Most of it saves the time that Textual spends on drawing too much. The attributes are not documented, so
another version of Textual may need changes here; tests/tui/test_textual_internals.py fails when the installed version is another one.
Two undocumented methods are overridden where they belong: `run_input_thread` of the driver and `_fatal_error` of the app.
"""

from __future__ import annotations

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
from textual.widgets.data_table import ColumnKey

TEXTUAL_VERSION = "8.2.8"


class QuietScreen(Screen[None]):
    """A screen that is not drawn anew when the focus moves. The two widgets concerned draw themselves."""

    focused: Reactive[Widget | None] = Reactive(None, repaint=False)


def change_focus(widget: Widget, event: events.Focus | events.Blur) -> None:
    """Do what Textual does when a widget gets or loses the focus, without the styles.

    Textual computes the styles of everything inside the widget and draws all of it, which takes a tenth of a second for a large
    pane. This is for widgets whose style does not depend on the focus. They also need a `watch_has_focus` that does nothing.
    """
    event.prevent_default()
    has_focus = isinstance(event, events.Focus)
    widget.has_focus = has_focus
    message: Message = events.DescendantFocus(widget) if has_focus else events.DescendantBlur(widget)
    if widget.parent is not None:
        widget.parent.post_message(message)


def set_border_text(widget: Widget, title: str, subtitle: str, style: str = "") -> None:
    """Set the title of a border, in a style, and its subtitle, both as plain text. Only their lines are drawn anew.

    The documented attributes draw the whole widget anew, and countdowns and losses change every second.
    """
    before = widget._border_title, widget._border_subtitle
    after = (Content.styled(title, style) if title else None, Content(subtitle) if subtitle else None)
    widget._border_title, widget._border_subtitle = after
    width, height = widget.outer_size
    for line, old, new in zip((0, height - 1), before, after, strict=True):
        same = old is new if old is None or new is None else old.is_same(new)
        if width and not same:
            widget.refresh(Region(0, line, width, 1).translate(-widget.content_offset))


def set_column_width(table: DataTable[Text], key: ColumnKey, width: int) -> None:
    """Change the width of a column of a table, which otherwise means to build all its rows anew."""
    column = table.columns[key]
    if column.width != width:
        column.width = width
        table._clear_caches()
        table._require_update_dimensions = True
        table.refresh()


def unhandled_error(app: App[str]) -> BaseException | None:
    """The exception that ends the app."""
    return app._exception
