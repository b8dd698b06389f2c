"""What all panes share: a numbered border, focus by its number, scrolling by the movement keys."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Region
from textual.widget import Widget

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
        """Set the title, and what stands at its right end. Both are plain text."""
        set_head(self, f"{self.NUMBER} {words or self.NAME}", right)


def set_head(widget: Widget, title: str, subtitle: str) -> None:
    """Title and subtitle of a border, as plain text. Only the lines that they stand in are drawn again: the attributes
    that Textual documents redraw all of a widget, and countdowns and losses change every second."""
    before = widget._border_title, widget._border_subtitle
    heads = (Content(title) if title else None, Content(subtitle) if subtitle else None)
    widget._border_title, widget._border_subtitle = heads
    width, height = widget.outer_size
    for line, old, new in zip((0, height - 1), before, heads, strict=True):
        if width and old != new:
            widget.refresh(Region(0, line, width, 1).translate(-widget.content_offset))
