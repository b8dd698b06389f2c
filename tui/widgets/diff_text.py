"""A diff whose long lines move sideways."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.widgets import Static

from tui.view import diffs
from tui.view.diffs import Line

MORE = "← → long lines"  # the note where a line is cut off
STEP = 16  # columns of one press of a key, and of one step of the wheel


class DiffText(Static):
    """Shows a diff. Lines that are too long are cut off, and `move` shows their rest."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._lines: Sequence[Line] = ()
        self._width = 0
        self._offset = 0

    @property
    def is_cut(self) -> bool:
        """Whether a line is too long."""
        return diffs.most_offset(self._lines, self._width) > 0

    def show(self, lines: Sequence[Line], width: int) -> None:
        """Show a diff in `width` columns. The same diff stays where it was moved to."""
        if lines != self._lines:
            self._offset = 0
        self._lines, self._width = lines, width
        self._draw()

    def move(self, columns: int) -> None:
        """Move the code to the left by some columns; to the right if they are negative."""
        offset = min(diffs.most_offset(self._lines, self._width), max(0, self._offset + columns))
        if offset != self._offset:
            self._offset = offset
            self._draw()

    def _draw(self) -> None:
        """Update the text. The layout is only computed again if its height changes."""
        self._offset = min(self._offset, diffs.most_offset(self._lines, self._width))
        content = diffs.render(self._lines, self._width, self._offset)
        width, height = self.size
        same = width and content.get_height(self.styles.get_rules(), width) == height
        self.update(content, layout=not same)

    def on_mouse_scroll_right(self, event: events.MouseScrollRight) -> None:
        event.stop()
        self.move(STEP)

    def on_mouse_scroll_left(self, event: events.MouseScrollLeft) -> None:
        event.stop()
        self.move(-STEP)
