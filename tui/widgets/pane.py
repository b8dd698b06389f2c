"""The base class of panes: numbered, bordered parts of the screen that scroll."""

from __future__ import annotations

from typing import ClassVar, Protocol

from textual import events
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from tui.textual_internals import change_focus, set_border_text
from tui.widgets.diff_text import STEP, DiffText

FOCUSED = "bold reverse $accent"  # style of the title of the focused pane
SCROLL_KEYS: list[BindingType] = [
    Binding("j,down", "scroll_down", "down", show=False),
    Binding("k,up", "scroll_up", "up", show=False),
    Binding("g,home", "scroll_home", "top", show=False),
    Binding("G,end", "scroll_end", "bottom", show=False),
    Binding("pageup", "page_up", "page up", show=False),
    Binding("pagedown,space", "page_down", "page down", show=False),
]


class Numbered(Protocol):
    """The attributes of a pane that the help and the tabs need.

    Attributes:
        NUMBER: The digit that focuses the pane.
        NAME: Its title.
    """

    NUMBER: ClassVar[int]
    NAME: ClassVar[str]


class Pane(VerticalScroll, can_focus=True):
    """The base class of panes, and of the scrolling text of other screens.

    A subclass defines `compose`. A pane of the main screen also has methods such as `show`, which PaneUpdates calls with the data
    to show. The id of a pane is the name of its class in lower case without `Pane`.

    Attributes:
        NUMBER: The digit that focuses the pane, and the beginning of its title. 0: no number.
        NAME: Its title, unless `set_title` sets another one.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *SCROLL_KEYS,
        Binding("left", "move_diffs(-1)", "left", show=False),
        Binding("right", "move_diffs(1)", "right", show=False),
        Binding("F", "fold_diffs", "fold", show=False),
        Binding("minus", "fold_chosen", "fold one", show=False),
        Binding("right_curly_bracket", "choose_hunk(1)", "next part", show=False),
        Binding("left_curly_bracket", "choose_hunk(-1)", "previous part", show=False),
    ]
    NUMBER: ClassVar[int]
    NAME: ClassVar[str]

    def __init__(self) -> None:
        super().__init__(id=type(self).__name__.removesuffix("Pane").lower(), classes="pane")
        self.set_title()

    def set_title(self, title: str = "", subtitle: str = "") -> None:
        """Set the title and subtitle of the border.

        Args:
            title: Plain text to show after the number of the pane; '' for `NAME`.
            subtitle: Plain text.
        """
        self._title = (f"{self.NUMBER or ''} {title or self.NAME}".strip(), subtitle)
        self._draw_title()

    def _draw_title(self) -> None:
        set_border_text(self, *self._title, FOCUSED if self.has_focus else "")

    def action_scroll_down(self) -> None:
        self._scroll_by(1)

    def action_scroll_up(self) -> None:
        self._scroll_by(-1)

    def action_page_down(self) -> None:
        self._scroll_by(max(1, self.scrollable_content_region.height - 1))

    def action_page_up(self) -> None:
        self._scroll_by(-max(1, self.scrollable_content_region.height - 1))

    def _scroll_by(self, lines: int) -> None:
        """Scroll at once, so that each of several quick presses counts. Textual's own actions wait for the next refresh."""
        if not self.allow_vertical_scroll:
            raise SkipAction
        self.scroll_to(y=self.scroll_target_y + lines, animate=False, immediate=True)

    def action_move_diffs(self, direction: int) -> None:
        """Move the diffs of the pane sideways, to read long lines. 1: to the right, -1: back."""
        for diff in self.query(DiffText):
            diff.move(direction * STEP)

    def action_fold_diffs(self) -> None:
        """Fold all hunks of the diffs of the pane, or unfold all if one is folded. A pane without a diff leaves the key to the app."""
        if not (found := self._diffs()):
            raise SkipAction
        fold = not any(diff.is_folded for diff in found)
        for diff in found:
            diff.fold_all(fold)

    def action_fold_chosen(self) -> None:
        """Fold or unfold one hunk: the one that `choose_hunk` went to."""
        found = self._diffs()
        for diff in ([diff for diff in found if diff.is_chosen] or found)[:1]:
            diff.fold_chosen()

    def action_choose_hunk(self, step: int) -> None:
        """Scroll to the next hunk, or to the previous one for -1. At the end of a diff, this goes on to the next one."""
        found = self._diffs()
        at = next((index for index, diff in enumerate(found) if diff.is_chosen), -1)
        if at < 0:
            at, step = 0, 1
        last = len(found) if step > 0 else -1
        for diff in (found[index] for index in range(at, last, step)):
            if (row := diff.choose(step)) is not None:
                self._leave_others(diff)
                top = diff.region.y - self.content_region.y + int(self.scroll_y)
                self.scroll_to(y=max(0, top + row), animate=False)
                return

    def on_diff_text_folded(self, event: DiffText.Folded) -> None:
        if event.diff.is_chosen:  # also by a click
            self._leave_others(event.diff)

    def _leave_others(self, chosen: DiffText) -> None:
        """Let the keys go on from one diff."""
        for diff in self.query(DiffText):
            if diff is not chosen:
                diff.leave()

    def _diffs(self) -> list[DiffText]:
        return [diff for diff in self.query(DiffText) if diff.hunks]

    def on_focus(self, event: events.Focus) -> None:
        change_focus(self, event)
        self._draw_title()

    def on_blur(self, event: events.Blur) -> None:
        change_focus(self, event)
        self._draw_title()

    def watch_has_focus(self, has_focus: bool) -> None:
        """Do nothing instead of updating styles, since only the title shows the focus."""
