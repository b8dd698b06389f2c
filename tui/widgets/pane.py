"""What all panes share: a numbered border, focus by its number, scrolling by the movement keys."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.widget import Widget

FOCUSED = "bold reverse $accent"  # the title of the pane that has the focus
MOVES: list[BindingType] = [
    Binding("j,down", "scroll_down", "down", show=False),
    Binding("k,up", "scroll_up", "up", show=False),
    Binding("g,home", "scroll_home", "top", show=False),
    Binding("G,end", "scroll_end", "bottom", show=False),
    Binding("pageup", "page_up", "page up", show=False),
    Binding("pagedown,space", "page_down", "page down", show=False),
]


class Pane(VerticalScroll, can_focus=True):
    """A bordered, numbered part of the screen."""

    BINDINGS: ClassVar[list[BindingType]] = MOVES
    NUMBER: ClassVar[int]
    NAME: ClassVar[str]
    ABOUT: ClassVar[str]  # for the help

    def __init__(self) -> None:
        super().__init__(id=type(self).__name__.removesuffix("Pane").lower(), classes="pane")
        self.head()

    def head(self, words: str = "", right: str = "") -> None:
        """Set the title, behind the pane's number if it has one, and what stands at its right end. Both are plain text."""
        self._head = (f"{self.NUMBER or ''} {words or self.NAME}".strip(), right)
        self._draw_head()

    def _draw_head(self) -> None:
        set_head(self, *self._head, FOCUSED if self.has_focus else "")

    def on_focus(self, event: events.Focus) -> None:
        self._take_focus(event, events.DescendantFocus(self))

    def on_blur(self, event: events.Blur) -> None:
        self._take_focus(event, events.DescendantBlur(self))

    def _take_focus(self, event: events.Event, tell: Message) -> None:
        """Only the title shows where the focus is. Textual's own way computes the styles of all that is in the pane, and draws
        it all: a tenth of a second for a key that changes one word."""
        event.prevent_default()
        self.has_focus = isinstance(event, events.Focus)
        self._draw_head()
        if self.parent is not None:
            self.parent.post_message(tell)

    def watch_has_focus(self, has_focus: bool) -> None:
        del has_focus  # no style depends on it


def set_head(widget: Widget, title: str, subtitle: str, style: str = "") -> None:
    """Title, in a style, and subtitle of a border, as plain text. Only the lines that they stand in are drawn again: the
    attributes that Textual documents redraw all of a widget, and countdowns and losses change every second."""
    before = widget._border_title, widget._border_subtitle
    heads = (Content.styled(title, style) if title else None, Content(subtitle) if subtitle else None)
    widget._border_title, widget._border_subtitle = heads
    width, height = widget.outer_size
    for line, old, new in zip((0, height - 1), before, heads, strict=True):
        same = old is new if old is None or new is None else old.is_same(new)
        if width and not same:
            widget.refresh(Region(0, line, width, 1).translate(-widget.content_offset))
