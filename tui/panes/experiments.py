"""All experiments, newest first: sorted, filtered, searched; it follows the newest until one scrolls away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, get_args

from rich.cells import cell_len, set_cell_size
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.message import Message
from textual.widgets import DataTable

from core.verdicts import Group, Verdict
from tui.view import words
from tui.view.status import Row
from tui.widgets.pane import set_head

FIRST, CHUNK, AHEAD = 120, 100, 60  # rows: at first, at a time, and below what is looked at
SORTS: tuple[tuple[str, Callable[[Row], Any]], ...] = (
    ("newest first", lambda row: -row.number),
    ("best first", lambda row: (row.val_bpb is None, row.val_bpb or 0.0)),
    ("largest gain first", lambda row: (row.change is None, row.change or 0.0)),
    ("longest first", lambda row: -row.seconds),
    ("by agent", lambda row: (row.agent, -row.number)),
)
# The letters of the verdicts that each shows.
FILTERS: dict[str, str] = {
    "all": "",
    **{group: "".join(verdict.letter for verdict in Verdict if verdict.group == group) for group in get_args(Group)},
    "open": " ",
}
COLUMNS = {  # title: width, a gap to the next included
    "#": 6, "verdict": 17, "val_bpb": 8, "change": 9, "mem": 8, "tok/s": 6, "agent": 11, "±lines": 9, "time": 6, "hypothesis": 0,
}  # fmt: skip
RIGHT = ("#", "val_bpb", "change", "mem", "tok/s", "time")
ALWAYS = ("#", "verdict", "val_bpb", "change", "hypothesis")
MORE = ("tok/s", "mem", "±lines", "agent", "time")  # as far as there is room
LEAST = 28  # columns for the hypothesis: what was tried matters more than what it took
LINE = "line"  # the one column of the widget: a whole row is one text, which is drawn some five times faster than ten cells


class ExperimentsPane(DataTable[Text]):
    """The table. Rows are added and updated; it is only rebuilt when its order or choice changes."""

    NUMBER: ClassVar[int] = 5
    NAME: ClassVar[str] = "experiments"
    ABOUT: ClassVar[str] = f"Every experiment. {', '.join(f'{verdict.letter} {verdict.words}' for verdict in Verdict)}."
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", "down", show=False),
        Binding("k", "cursor_up", "up", show=False),
        Binding("g", "scroll_top", "top", show=False),
        Binding("G", "scroll_bottom", "bottom", show=False),
        Binding("space", "page_down", "page down", show=False),
    ]

    class Selected(Message):
        """The cursor came to an experiment; None: follow the newest again."""

        def __init__(self, number: int | None) -> None:
            super().__init__()
            self.number = number

    class Opened(Message):
        """Enter was pressed on it."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self) -> None:
        super().__init__(id="experiments", classes="pane", cursor_type="row", cell_padding=0)
        self._rows: dict[int, Row] = {}
        self._order: list[int] = []  # of those that are shown
        self._left: list[int] = []  # not yet in the table
        self._sort = 0
        self._filter = 0
        self._search = ""
        self._columns_wide: tuple[str, ...] = ()
        self._moving = False  # the cursor is moved by us, not by a human
        self.following = True
        self._led = False  # another order or choice led away from the newest, and nobody has moved since
        self._told: int | None = None  # whom the others were last told to show; None: the newest
        self._new = 0

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self.rebuild())  # cells hold colours

    # -- what to show ---------------------------------------------------------------------------------------------

    def show(self, rows: Iterable[Row]) -> None:
        """Rows that are new or changed."""
        fresh: list[int] = []
        moved = False  # in or out of what the filter shows
        for row in rows:
            known = self._rows.get(row.number)
            if row == known:
                continue
            self._rows[row.number] = row
            if known is None:
                fresh.append(row.number)
            elif self._fits(known) != self._fits(row):
                moved = True
            elif self._is_shown(row.number):
                self.update_cell(str(row.number), LINE, self._line(row))
        if moved or not self._columns_wide:
            self._new += 0 if self.following else sum(self._fits(self._rows[number]) for number in fresh)
            self.rebuild()
            self._settle()
        elif fresh:
            self._add(fresh)
        self._entitle()

    def show_older(self, rows: Iterable[Row]) -> None:
        """Rows that nobody looks at yet: they are put into the table when somebody does."""
        self._rows |= {row.number: row for row in rows}
        if self._columns_wide:
            self._put_in_order()

    def _put_in_order(self) -> None:
        shown = [row for row in self._rows.values() if self._fits(row)]
        self._order = [row.number for row in sorted(shown, key=SORTS[self._sort][1])]
        self._left = [number for number in self._order if not self._is_shown(number)]

    def _is_shown(self, number: int) -> bool:
        return str(number) in self._row_locations

    def _add(self, numbers: Sequence[int]) -> None:
        kept = [number for number in numbers if self._fits(self._rows[number])]
        if not kept:
            return
        self._new += 0 if self.following else len(kept)
        here = self.selected
        for number in kept:
            self.add_row(self._line(self._rows[number]), key=str(number), height=1)
        self._moving = True
        rank = SORTS[self._sort][1]
        self.sort(LINE, key=lambda line: rank(self._rows[int(line.plain[: COLUMNS["#"]])]))
        if self.following:
            self.move_cursor(row=0, animate=False)
        elif here is not None and self._is_shown(here):
            self.move_cursor(row=self.get_row_index(str(here)), animate=False, scroll=False)
        self._moving = False

    def rebuild(self) -> None:
        """Another order, choice or width: the first screenfuls; more come when they are looked at."""
        here = self.selected
        self._moving = True
        self._left = []
        self.clear(columns=True)
        names = self._fitting()
        self.add_column(_joined([_cell(name, name) for name in names]), width=self._width, key=LINE)
        self._columns_wide = names
        self._put_in_order()
        first = FIRST  # and as far as the one that is looked at
        if not self.following and here in self._order:
            first = max(FIRST, self._order.index(here) + AHEAD)
        self._left = self._order[first:]
        self._fill(self._order[:first])
        if not self.following and here is not None and self._is_shown(here):
            self.move_cursor(row=self.get_row_index(str(here)), animate=False)
        self._moving = False

    def _fill(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            if not self._is_shown(number):
                self.add_row(self._line(self._rows[number]), key=str(number), height=1)

    def _reach(self, row: int) -> None:
        """Have the rows up to this one, and some more: a table of ten thousand is only filled as far as somebody looks."""
        if self._left and not self._moving and row + AHEAD > self.row_count:
            count = max(CHUNK, row + AHEAD - self.row_count)
            chunk, self._left = self._left[:count], self._left[count:]
            self._fill(chunk)

    def watch_scroll_y(self, old: float, new: float) -> None:
        super().watch_scroll_y(old, new)
        self._reach(int(new) + self.size.height)

    def watch_cursor_coordinate(self, old: Coordinate, new: Coordinate) -> None:
        self._reach(new.row)
        super().watch_cursor_coordinate(old, new)

    def action_scroll_bottom(self) -> None:
        self._reach(len(self._rows))
        super().action_scroll_bottom()

    @property
    def _shown(self) -> str:
        return list(FILTERS)[self._filter]

    def _fits(self, row: Row) -> bool:
        letters = FILTERS[self._shown]
        if letters and row.letter not in letters:
            return False
        where = f"{row.hypothesis} {row.verdict} {row.agent} #{row.number}".lower()
        return self._search.lower() in where

    def _line(self, row: Row) -> Text:
        tone = self._tone(row.tone)
        dim = self._tone("text-muted")
        better = (
            self._tone("success") if row.change is not None and row.change < 0 and row.letter in FILTERS["kept"] else ""
        )
        cells = {
            "#": (str(row.number), ""),
            "verdict": (f"{row.letter} {row.verdict}", tone),
            "val_bpb": (words.bpb(row.val_bpb), ""),
            "change": (words.change(row.change), better),
            "mem": (words.memory(row.memory), dim),
            "tok/s": (words.rate(row.tokens_per_s), dim),
            "agent": (row.agent, dim),
            "±lines": (f"+{row.added} −{row.removed}", dim),
            "time": (words.span(row.seconds) if row.seconds else words.MISSING, dim),
            "hypothesis": (row.hypothesis, ""),
        }
        return _joined([_cell(name, *cells[name]) for name in self._columns_wide])

    def _tone(self, name: str) -> str:
        value = self.app.theme_variables.get(name, "") if name else ""
        return value if value.startswith("#") else "dim" if name == "text-muted" else ""

    def _entitle(self) -> None:
        order = SORTS[self._sort][0]
        parts = [f"{self.NUMBER} experiments", self._shown, order]
        if self._search:
            parts.append(f"“{words.sanitize_line(self._search, 30)}”")
        if self._columns_wide and self._rows and not self._order and not self.row_count:
            parts.append("nothing matches")
        set_head(
            self,
            " · ".join(parts),
            f"+{self._new} new, {'g' if self._plain else 'escape'} follows" if self._new else "",
        )

    # -- what a human does ----------------------------------------------------------------------------------------

    @property
    def selected(self) -> int | None:
        """The experiment under the cursor."""
        if not self.is_valid_row_index(self.cursor_row):
            return None
        key = self.ordered_rows[self.cursor_row].key.value
        return int(key) if key is not None else None

    @property
    def numbers(self) -> list[int]:
        """What the table shows, in its order."""
        rest = [number for number in self._left if not self._is_shown(number)]
        return [int(row.key.value) for row in self.ordered_rows if row.key.value is not None] + rest

    def select(self, number: int) -> None:
        """Move the cursor there."""
        if self._is_shown(number):
            self.move_cursor(row=self.get_row_index(str(number)), animate=False)

    def next_sort(self) -> str:
        self._sort = (self._sort + 1) % len(SORTS)
        self.rebuild()
        self._settle()
        self._entitle()
        return SORTS[self._sort][0]

    def next_filter(self) -> str:
        self._filter = (self._filter + 1) % len(FILTERS)
        self.rebuild()
        self._settle()
        self._entitle()
        return self._shown

    def search(self, text: str) -> int:
        """Show only rows with this text; '' shows all. How many there are."""
        self._search = text.strip()
        self.rebuild()
        self._settle()
        self._entitle()
        return len(self._order)

    @property
    def _plain(self) -> bool:
        """Whether all experiments are there, the newest on top."""
        return not (self._sort or self._filter or self._search)

    def _settle(self) -> None:
        """What the cursor is on is what the other panes show and the keys mean, also where another row came under it."""
        if self._plain and (self.following or self._led):
            self.follow()
            return
        self._led = self._led or self.following
        self.following, self._told = False, self.selected
        self.post_message(self.Selected(self._told))

    def follow(self) -> None:
        """Back to the newest, which stands on top where all are shown."""
        self.following, self._led, self._told, self._new = True, False, None, 0
        if not self._plain:
            self._sort, self._filter, self._search = 0, 0, ""
            self.rebuild()
        self._moving = True
        self.move_cursor(row=0, animate=False)
        self._moving = False
        self._entitle()
        self.post_message(self.Selected(None))

    def action_scroll_top(self) -> None:
        if self._plain:
            self.follow()
        else:
            self.move_cursor(row=0, animate=False)

    def action_cursor_up(self) -> None:
        if self.cursor_row == 0 and self._plain:
            self.follow()
        else:
            super().action_cursor_up()

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        number = self.selected  # None in an empty table, of which Textual tells as well
        if self._moving or not self.has_focus or number is None:
            return
        if number == self._told or (
            self.following and self.cursor_row == 0
        ):  # the event may be of a cursor that was since moved
            return
        self.following, self._led, self._told = False, False, number
        self.post_message(self.Selected(number))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        if event.row_key.value is not None:
            self.post_message(self.Opened(int(event.row_key.value)))

    def on_resize(self, event: events.Resize) -> None:
        del event
        if not self._columns_wide:
            return
        if self._columns_wide != self._fitting():
            self.rebuild()
        else:
            self._widen()

    def _widen(self) -> None:
        """Give the hypothesis what is left, without touching a row."""
        for column in self.columns.values():
            if column.width != self._width:
                column.width = self._width
                self._clear_caches()
                self._require_update_dimensions = True
                self.refresh()

    def _fitting(self) -> tuple[str, ...]:
        """The columns that there is room for, in their order."""
        names = set(ALWAYS)
        for name in MORE:
            if self._room((*names, name)) >= LEAST:
                names.add(name)
        return tuple(name for name in COLUMNS if name in names)

    @property
    def _width(self) -> int:
        return max(40, self.size.width - 2)

    def _room(self, names: Iterable[str]) -> int:
        """Columns that are left for the hypothesis."""
        return self._width - sum(COLUMNS[name] for name in names)


def _cell(name: str, text: str, style: str = "") -> tuple[str, str]:
    """Text as wide as its column, a gap at the end included, and its style; the last column is as long as it likes."""
    width = COLUMNS[name] - 1
    if width < 0:
        return text, style
    if cell_len(text) > width:
        text = f"{set_cell_size(text, width - 1)}…"
    gap = " " * (width - cell_len(text))
    return (f"{gap}{text} " if name in RIGHT else f"{text}{gap} "), style


def _joined(cells: Iterable[tuple[str, str]]) -> Text:
    return Text.assemble(*cells, no_wrap=True, overflow="ellipsis")
