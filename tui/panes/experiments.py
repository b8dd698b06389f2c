"""The table of experiments, which can be sorted, filtered and searched. The cursor follows the newest until the user moves it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widgets import DataTable

from tui.system import colours
from tui.textual_internals import set_border_text
from tui.view import table
from tui.view.experiments import Row
from tui.widgets.lazy_table import LazyTable

BORDER = 6  # columns of the border and the number beside a title


class _OnRow(Message):
    """About one experiment."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class ExperimentsPane(LazyTable):
    """The table. Changed rows are updated one by one. It is only rebuilt if its order, filter or columns change."""

    NUMBER: ClassVar[int] = 5
    NAME: ClassVar[str] = "experiments"

    class Selected(Message):
        """Posted when the cursor is on another experiment. `number` is None when it follows the newest again."""

        def __init__(self, number: int | None) -> None:
            super().__init__()
            self.number = number

    class Chose(Message):
        """Posted when the filter or the order of the table is another one. Both are given by name."""

        def __init__(self, filter: str, sort: str) -> None:
            super().__init__()
            self.filter, self.sort = filter, sort

    class Opened(_OnRow):
        """Posted when Enter is pressed on an experiment."""

    class Sideways(Message):
        """Posted when the user wants to read long lines of the change: 1 for a step to the right, -1 for one back."""

        def __init__(self, direction: int) -> None:
            super().__init__()
            self.direction = direction

    def __init__(self) -> None:
        super().__init__(id="experiments", classes="pane")
        self._experiments: dict[int, Row] = {}
        self._choice = table.Choice()
        self._order: list[int] = []  # numbers of the experiments that the choice shows
        self._shown_columns: dict[str, int] = {}  # their widths; empty before the first rows
        self._new: set[int] = set()  # experiments added while the cursor was elsewhere, and not seen yet
        self._led_away = False  # it stopped following because of sorting or filtering, not by a movement of the user
        self._reported: int | None = None  # the number in the last `Selected`
        self._marked: int | None = None  # the experiment that another one is to be compared with

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self.rebuild())  # lines contain colours
        self.set_class(colours.are_few(self.app), "-few-colours")

    # -- what is shown --------------------------------------------------------------------------------------------

    def show(self, rows: Iterable[Row]) -> None:
        """Show experiments that are new or have changed."""
        fresh: list[int] = []
        choice_changed = False  # a changed experiment is shown or hidden now
        for row in rows:
            known = self._experiments.get(row.number)
            if row == known:
                continue
            self._experiments[row.number] = row
            if known is None:
                fresh.append(row.number)
            elif self._choice.accepts(known) != self._choice.accepts(row):
                choice_changed = True
            elif self.has_line(row.number):
                self.update_line(row.number)
        if choice_changed or not self._shown_columns:
            self._count_new(self._accepted(fresh))
            self.rebuild()
            self._report_choice()
        elif fresh:
            self._insert(self._accepted(fresh))
        self._update_title()

    def show_older(self, rows: Iterable[Row]) -> None:
        """Add experiments that are not on the screen. Their lines are made when they come into view."""
        self._experiments |= {row.number: row for row in rows}
        if not self._shown_columns:
            return
        if self._choice.shows_all:
            self._order = self._choice.order(self._experiments.values())
            self.postpone_lines(self._order)
        else:  # they may come before those on the screen
            self.rebuild(to_top=self._led_away)
            self._report_choice()
            self._update_title()

    def rebuild(self, *, to_top: bool = False) -> None:
        """Rebuild the table after a change of order, choice, width or theme. `to_top`: move the cursor to the first line."""
        selected = self.followed if self.following and self._choice.shows_all else None
        if not (self.following or to_top):
            selected = self.selected
        self._shown_columns = table.fitting_columns(self.line_width, self.app.size.width)
        self._order = self._choice.order(self._experiments.values())
        self.replace_lines(table.heading(self._shown_columns, self._choice), self._order, selected)

    def line_text(self, number: int) -> Text:
        style, marked = partial(style_of, theme=self.app.theme_variables), number == self._marked
        return table.row_text(self._experiments[number], self._shown_columns, style, marked=marked)

    def _accepted(self, numbers: Iterable[int]) -> list[int]:
        return [number for number in numbers if self._choice.accepts(self._experiments[number])]

    def _count_new(self, numbers: Sequence[int]) -> None:
        if not self.following:
            self._new |= set(numbers)

    def _insert(self, numbers: Sequence[int]) -> None:
        """Add experiments. The cursor stays on its experiment, or on the newest."""
        if not numbers:
            return
        self._count_new(numbers)
        selected = self.selected
        with self.arranging():
            self.insert_lines(numbers, self._sort_key, largest_first=self._choice.largest_first)
            if self.following:
                self.go_to_followed()
            elif selected is not None and self.has_line(selected):
                self.move_cursor(row=self.get_row_index(str(selected)), animate=False, scroll=False)

    def _sort_key(self, line: Text) -> Any:
        return self._choice.sort_key(self._experiments[table.number_of(line)])

    def _update_title(self) -> None:
        empty = bool(self._shown_columns and self._experiments and not self._order and not self.row_count)
        title = table.title(self._choice, self._shown_columns, self.line_width - BORDER, empty=empty)
        self._new -= self.visible_numbers
        set_border_text(self, f"{self.NUMBER} {title}", table.new_note(len(self._new), self._choice))

    def lines_moved(self) -> None:
        if self._new:
            self._update_title()

    def on_resize(self, event: events.Resize) -> None:
        if self._shown_columns and self._shown_columns != table.fitting_columns(self.line_width, self.app.size.width):
            self.rebuild()
        elif self._shown_columns:
            self.fit_width()
        self._update_title()

    # -- actions of the user --------------------------------------------------------------------------------------

    def restore(self, filter: str, sort: str) -> str:
        """Choose a filter and an order by name, before anything is shown. Returns them as a phrase; '' for all, newest first."""
        self._choice.restore(filter, sort)
        return "" if self._choice.shows_all else f"{self._choice.filter_name} experiments, {self._choice.sort_name}"

    def next_sort(self) -> None:
        """Sort by another column."""
        self._choice.next_sort()
        self._show_choice()

    def next_filter(self) -> None:
        """Show another group of experiments."""
        self._choice.next_filter()
        self._show_choice()

    def mark(self, number: int | None) -> None:
        """Mark an experiment as the one that another one is to be compared with; None for no mark."""
        before, self._marked = self._marked, number
        for one in (before, number):
            if one is not None and self.has_line(one):
                self.update_line(one)

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """Ignore a click on the header, which `on_click` handles: to Textual the whole line is one column."""
        event.stop()

    def on_click(self, event: events.Click) -> None:
        """Sort by the column whose title was clicked; a second click reverses the order."""
        at = event.get_content_offset(self)
        if at is None or at.y >= self.header_height * self.show_header:
            return
        if (column := table.column_at(self._shown_columns, at.x + int(self.scroll_x))) is not None:
            self._choice.sort_by(column)
            self._show_choice()

    @property
    def searched(self) -> str:
        """The text that all shown experiments contain; '' for all experiments."""
        return self._choice.search

    def search(self, text: str) -> None:
        """Show only experiments with this text. '' shows all."""
        if text.strip() != self._choice.search:
            self._choice.search = text.strip()
            self._show_choice()

    def follow(self) -> None:
        """Follow the newest experiment again. Resets sorting, filter and search."""
        self.following, self._led_away, self._reported, self._new = True, False, None, set()
        if not self._choice.shows_all:
            self._choice.reset()
            self.post_message(self.Chose(self._choice.filter_name, self._choice.sort_name))
            self.rebuild()
        with self.arranging():
            self.go_to_followed()
        self._update_title()
        self.post_message(self.Selected(None))

    def show_all(self) -> bool:
        """Leave the filter, the order and the search. The cursor stays on its experiment. Returns False if there is nothing to leave."""
        if self._choice.shows_all:
            return False
        self._choice.reset()
        self._show_choice()
        return True

    def _show_choice(self) -> None:
        self.post_message(self.Chose(self._choice.filter_name, self._choice.sort_name))
        self.rebuild()
        self._report_choice()
        self._update_title()

    def _report_choice(self) -> None:
        """Post the experiment under the cursor, which may have changed without a movement of the cursor."""
        if self._choice.shows_all and (self.following or self._led_away):
            self.follow()
            return
        self._led_away, self.following, self._reported = self._led_away or self.following, False, self.selected
        self.post_message(self.Selected(self._reported))

    def action_cursor_left(self) -> None:
        self.post_message(self.Sideways(-1))

    def action_cursor_right(self) -> None:
        self.post_message(self.Sideways(1))

    def action_scroll_top(self) -> None:
        if self._choice.shows_all:
            self.follow()
        else:
            self.move_cursor(row=0, animate=False)

    def action_cursor_up(self) -> None:
        if self.cursor_row == 0 and self._choice.shows_all:
            self.follow()
        else:
            super().action_cursor_up()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        number = self.selected  # None in an empty table, for which Textual also posts this event
        known = number == self._reported or (self.following and self.cursor_row == self.followed_row)
        if self._is_arranging or not self.has_focus or number is None or known:  # the cursor may have moved since
            return
        self.following, self._led_away, self._reported = False, False, number
        self.post_message(self.Selected(number))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        if event.row_key.value is not None:
            self.post_message(self.Opened(int(event.row_key.value)))


def style_of(tone: str, theme: Mapping[str, str]) -> str:
    """Return the style of a tone in a theme; '' for colours like "auto"."""
    value = theme.get(tone, "") if tone else ""
    if value.startswith("ansi_") and value.isidentifier() and value != "ansi_default":
        return value.removeprefix("ansi_")
    return value if value.startswith("#") else "dim" if tone == "text-muted" else ""
