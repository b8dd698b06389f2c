"""A table of thousands of lines, of which only those are in the widget that somebody has looked at."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.widgets import DataTable

from tui.textual_internals import set_column_width

FIRST = 120  # rows that are added at first
CHUNK = 100  # rows that are added at a time
AHEAD = 60  # rows that are added below the visible ones
LINE = "line"  # key of the only column: a row that is one text is drawn some five times faster than one of ten cells


class LazyTable(DataTable[Text]):
    """A table of numbered lines. Further lines are added as the cursor or the screen comes near them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "down", show=False),
        Binding("k", "cursor_up", "up", show=False),
        Binding("g", "scroll_top", "top", show=False),
        Binding("G", "scroll_bottom", "bottom", show=False),
        Binding("space", "page_down", "page down", show=False),
    ]

    def __init__(self, id: str, classes: str) -> None:
        super().__init__(id=id, classes=classes, cursor_type="row", cell_padding=0)
        self._postponed: list[int] = []  # numbers of the lines that are not in the table yet
        self._is_arranging = False  # the cursor is moved by the program, not by a human

    def line_text(self, number: int) -> Text:
        """The line of a number."""
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
        """The numbers of all lines in their order, those included that are not in the table yet."""
        rest = [number for number in self._postponed if not self.has_line(number)]
        return [int(row.key.value) for row in self.ordered_rows if row.key.value is not None] + rest

    @property
    def line_width(self) -> int:
        """The columns of the screen that a line may take."""
        return max(40, self.size.width - 2)

    def has_line(self, number: int) -> bool:
        """Whether a line is in the table already."""
        return str(number) in self.rows

    def select(self, number: int) -> None:
        """Move the cursor to a line."""
        if self.has_line(number):
            self.move_cursor(row=self.get_row_index(str(number)), animate=False)

    @contextlib.contextmanager
    def arranging(self) -> Iterator[None]:
        """Within this, lines are added only as told, and a movement of the cursor is not one of a human."""
        self._is_arranging = True
        try:
            yield
        finally:
            self._is_arranging = False

    def replace_lines(self, heading: Text, order: Sequence[int], selected: int | None) -> None:
        """Show other lines, or the same ones in another order. The cursor stays on `selected` where it is among them."""
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
        """Add those of these lines that are not in the table yet when somebody looks at them."""
        self._postponed = [number for number in order if not self.has_line(number)]

    def insert_lines(self, numbers: Sequence[int], sort_key: Callable[[Text], Any]) -> None:
        """Add lines, each at its place in the order."""
        for number in numbers:
            self.add_row(self.line_text(number), key=str(number), height=1)
        self.sort(LINE, key=sort_key)

    def update_line(self, number: int) -> None:
        """Draw a line anew."""
        self.update_cell(str(number), LINE, self.line_text(number))

    def fit_width(self) -> None:
        """Let the lines take the width of the table."""
        for key in list(self.columns):
            set_column_width(self, key, self.line_width)

    def _add_lines(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            if not self.has_line(number):
                self.add_row(self.line_text(number), key=str(number), height=1)

    def _add_lines_to(self, row: int) -> None:
        """Add the lines up to a row, and some more."""
        if self._postponed and not self._is_arranging and row + AHEAD > self.row_count:
            count = max(CHUNK, row + AHEAD - self.row_count)
            chunk, self._postponed = self._postponed[:count], self._postponed[count:]
            self._add_lines(chunk)

    def watch_scroll_y(self, old: float, new: float) -> None:
        super().watch_scroll_y(old, new)
        self._add_lines_to(int(new) + self.size.height)

    def watch_cursor_coordinate(self, old: Coordinate, new: Coordinate) -> None:
        self._add_lines_to(new.row)
        super().watch_cursor_coordinate(old, new)

    def action_scroll_bottom(self) -> None:
        self._add_lines_to(self.row_count + len(self._postponed))
        super().action_scroll_bottom()
