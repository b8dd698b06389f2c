"""What all panes share: a numbered border, focus by its number, scrolling by the movement keys."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content

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
        title = f"{self.NUMBER} {words or self.NAME}"
        if self.border_title != title:
            self.border_title = Content(title).markup if "[" in title else title
        if self.border_subtitle != right:
            self.border_subtitle = right
