"""A table for thousands of lines that adds lines to the widget when they come into view."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.widgets import DataTable

from tui.textual_internals import set_column_width

FIRST = 120  # rows that are added initially
CHUNK = 100  # rows that are added at a time
AHEAD = 60  # rows that are added below the visible ones
LINE = "line"  # key of the only column: rows of one cell are drawn about five times faster than rows of ten


class LazyTable(DataTable[Text]):
    """A table of numbered lines. Lines are added when the cursor or the visible part comes near them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "down", show=False),
        Binding("k", "cursor_up", "up", show=False),
        Binding("g", "scroll_top", "top", show=False),
        Binding("G", "scroll_bottom", "bottom", show=False),
        Binding("space", "page_down", "page down", show=False),
    ]

    def __init__(self, id: str, classes: str) -> None:
        super().__init__(
            id=id, classes=classes, cursor_type="row", cell_padding=0, cursor_foreground_priority="renderable"
        )
        self._postponed: list[int] = []  # numbers of lines that are not in the widget yet
        self._is_arranging = False  # the program moves the cursor, not the user
        self.following = True  # the cursor stays on the followed line until the user moves it
        self.followed: int | None = None  # the number of that line; None for the first one

    def line_text(self, number: int) -> Text:
        """Return the line with a number. Subclasses must implement this."""
        raise NotImplementedError

    @property
    def selected(self) -> int | None:
        """The number of the line under the cursor."""
        if not self.is_valid_row_index(self.cursor_row):
            return None
        key = self.ordered_rows[self.cursor_row].key.value
        return int(key) if key is not None else None

    @property
    def numbers(self) -> list[int]:
        """The numbers of all lines in order, including those that are not in the widget yet."""
        rest = [number for number in self._postponed if not self.has_line(number)]
        return [int(row.key.value) for row in self.ordered_rows if row.key.value is not None] + rest

    def lines_moved(self) -> None:
        """Called when other lines are on the screen."""

    @property
    def visible_numbers(self) -> set[int]:
        """The numbers of the lines on the screen."""
        first = int(self.scroll_y)
        rows = self.ordered_rows[first : first + self.size.height - self.header_height * self.show_header]
        return {int(row.key.value) for row in rows if row.key.value is not None}

    @property
    def line_width(self) -> int:
        """The width of a line in columns."""
        return max(30, self.size.width - 2)

    def has_line(self, number: int) -> bool:
        """Return whether a line is in the widget."""
        return str(number) in self.rows

    def select(self, number: int) -> None:
        """Move the cursor to a line, if it is in the widget."""
        if self.has_line(number):
            self.move_cursor(row=self.get_row_index(str(number)), animate=False)

    def follow_line(self, number: int | None) -> None:
        """Set the line that the cursor follows; None for the first one."""
        if number != self.followed:
            self.followed = number
            if self.following:
                with self.arranging():
                    self.go_to_followed()

    @property
    def followed_row(self) -> int:
        """The row of the followed line, or the first row if that line is not in the widget."""
        number = self.followed
        return self.get_row_index(str(number)) if number is not None and self.has_line(number) else 0

    def go_to_followed(self) -> None:
        """Move the cursor to the followed line."""
        self.move_cursor(row=self.followed_row, animate=False)

    @contextlib.contextmanager
    def arranging(self) -> Iterator[None]:
        """Inside this context, no lines are added automatically, and movements of the cursor are not the user's."""
        self._is_arranging = True
        try:
            yield
        finally:
            self._is_arranging = False

    def replace_lines(self, heading: Text, order: Sequence[int], selected: int | None) -> None:
        """Replace all lines.

        Args:
            heading: The title of the column.
            order: Numbers of the lines in order.
            selected: The line for the cursor; None, or one that is not in `order`, for the first line.
        """
        with self.arranging():
            self._postponed = []
            self.clear(columns=True)
            self.add_column(heading, width=self.line_width, key=LINE)
            first = max(FIRST, order.index(selected) + AHEAD) if selected in order else FIRST
            self._postponed = list(order[first:])
            self._add_lines(order[:first])
            if selected is not None:
                self.select(selected)

    def postpone_lines(self, order: Sequence[int]) -> None:
        """Set the order of all lines. Those that are not in the widget are added when they come into view."""
        self._postponed = [number for number in order if not self.has_line(number)]

    def insert_lines(self, numbers: Sequence[int], sort_key: Callable[[Text], Any], *, largest_first: bool) -> None:
        """Add lines, and sort the table by `sort_key`."""
        for number in numbers:
            self.add_row(self.line_text(number), key=str(number), height=1)
        self.sort(LINE, key=sort_key, reverse=largest_first)

    def update_line(self, number: int) -> None:
        """Redraw a line."""
        self.update_cell(str(number), LINE, self.line_text(number))

    def fit_width(self) -> None:
        """Adapt the lines to the width of the table."""
        for key in list(self.columns):
            set_column_width(self, key, self.line_width)

    def _add_lines(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            if not self.has_line(number):
                self.add_row(self.line_text(number), key=str(number), height=1)

    def _add_lines_to(self, row: int) -> None:
        """Add postponed lines up to AHEAD rows after a row."""
        if self._postponed and not self._is_arranging and row + AHEAD > self.row_count:
            count = max(CHUNK, row + AHEAD - self.row_count)
            chunk, self._postponed = self._postponed[:count], self._postponed[count:]
            self._add_lines(chunk)

    def watch_scroll_y(self, old: float, new: float) -> None:
        super().watch_scroll_y(old, new)
        self._add_lines_to(int(new) + self.size.height)
        self.lines_moved()

    def watch_cursor_coordinate(self, old: Coordinate, new: Coordinate) -> None:
        self._add_lines_to(new.row)
        super().watch_cursor_coordinate(old, new)

    def action_scroll_bottom(self) -> None:
        self._add_lines_to(self.row_count + len(self._postponed))
        super().action_scroll_bottom()
