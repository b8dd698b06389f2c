"""The table of experiments as text: columns, sort orders and filters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from core.reporting import phrases
from core.verdicts import Group, Verdict
from tui.view import words
from tui.view.experiments import Row


@dataclass(frozen=True)
class Sort:
    """A sort order of the table.

    Attributes:
        column: The column whose header stands for it.
        name: Its name.
        reversed_name: The name of the opposite order.
        value: What is compared; None for an experiment without the figure, which is always last.
        descending: Whether the largest value is first, unless it is reversed.
    """

    column: str
    name: str
    reversed_name: str
    value: Callable[[Row], Any]
    descending: bool = False

    def key(self, row: Row, *, largest_first: bool) -> Any:
        """Return the key of an experiment. Of equal ones the newest is first."""
        value = self.value(row)
        missing = value is None
        return (missing is not largest_first, 0 if missing else value, row.number if largest_first else -row.number)


def _kept_first(row: Row) -> Any:
    return (row.letter not in FILTERS["kept"], row.val_bpb is None, row.val_bpb or 0.0, row.verdict)


FILTERS: dict[str, str] = {  # name -> letters of the verdicts to show; '' for all
    "all": "",
    **{group: "".join(verdict.letter for verdict in Verdict if verdict.group == group) for group in get_args(Group)},
    "open": " ",
}
COLUMNS = {  # title -> width, including a gap to the next column; 0: the rest of the line
    "#": 6, "verdict": 15, "val_bpb": 8, "change": 8, "mem": 8, "tok/s": 6, "agent": 11, "±lines": 9, "time": 6, "hypothesis": 0,
}  # fmt: skip
RIGHT = ("#", "val_bpb", "change", "mem", "tok/s", "time")  # columns that are aligned to the right
ALWAYS = ("#", "verdict", "val_bpb", "change", "hypothesis")
OPTIONAL = ("±lines", "agent", "time", "tok/s", "mem")  # shown if there is room, by this priority
OF_WIDE_TERMINALS, WIDE = ("tok/s", "mem"), 160  # columns of the table that need a terminal of at least so many columns
NARROW, ROOMY = 64, 90  # columns of a line, below which val_bpb is left out, and from which the longest verdict fits
LONGEST_VERDICT = 18  # width of its column, with the gap, for "discarded, by you"
SORTS = (  # the first order of a column; the header of the column and its key choose it
    Sort("#", "newest first", "oldest first", lambda row: row.number, True),
    Sort("verdict", "kept first, then best first", "no score first, kept last", _kept_first),
    Sort("val_bpb", "lowest val_bpb first", "highest val_bpb first", lambda row: row.val_bpb),
    Sort("change", "largest gain first", "largest loss first", lambda row: row.change),
    Sort("mem", "most memory first", "least memory first", lambda row: row.memory or None, True),
    Sort("tok/s", "fastest first", "slowest first", lambda row: row.tokens_per_s or None, True),
    Sort("agent", "by agent", "by agent, from z to a", lambda row: row.agent),
    Sort("±lines", "largest change first", "smallest change first", lambda row: row.added + row.removed, True),
    Sort("time", "longest first", "shortest first", lambda row: row.seconds or None, True),
    Sort("hypothesis", "by hypothesis", "by hypothesis, from z to a", lambda row: row.hypothesis.casefold()),
)
CYCLE = ("#", "verdict", "change", "time", "agent")  # the orders that the key walks through
UP, DOWN = "▲", "▼"  # beside the sorted column: its values become larger, or smaller, from the top
RERUN = "↻"  # before the number of an experiment that is about to run again, or runs again
RERAN = "+"  # before the number of an experiment that was measured again after its verdict
MARK = "◆"  # before the number of the experiment that another one is compared with
LEAST = 56  # least width of the hypothesis, which has priority over the optional columns
EXPLAINED = "change (− better)"  # the title of the column where there is room for it
LEAST_EXPLAINED = 54  # least width of the hypothesis beside that title; half of a narrow line is enough
EXPLANATIONS = ("change: − is better", "− is better")  # in the title of the table where there is not


@dataclass
class Choice:
    """The sort order, filter and search of the table."""

    sort: str = "#"  # the column
    reversed: bool = False
    filter: int = 0
    search: str = ""

    @property
    def shows_all(self) -> bool:
        """Whether all experiments are shown, newest first."""
        return self.sort == "#" and not (self.reversed or self.filter or self.search)

    @property
    def sort_name(self) -> str:
        return self._order.reversed_name if self.reversed else self._order.name

    @property
    def largest_first(self) -> bool:
        """Whether the values of the sorted column become smaller from the top."""
        return self._order.descending != self.reversed

    def sort_key(self, row: Row) -> Any:
        """Return the key of an experiment, for a sort with `reverse` if the largest value is first."""
        return self._order.key(row, largest_first=self.largest_first)

    @property
    def filter_name(self) -> str:
        return list(FILTERS)[self.filter]

    @property
    def summary(self) -> str:
        """Filter, order and search, for the table's title."""
        search = f" · “{words.sanitize_line(self.search, 30)}”" if self.search else ""
        return f"{self.filter_name} · {self.sort_name}{search}"

    @property
    def _order(self) -> Sort:
        return next(sort for sort in SORTS if sort.column == self.sort)

    def restore(self, filter: str, sort: str) -> None:
        """Choose a filter and an order by their names. Unknown names, such as those of another version, mean the first."""
        filters = list(FILTERS)
        self.filter = filters.index(filter) if filter in filters else 0
        found = next((one for one in SORTS if sort in (one.name, one.reversed_name)), SORTS[0])
        self.sort, self.reversed = found.column, sort == found.reversed_name

    def next_sort(self) -> None:
        at = CYCLE.index(self.sort) if self.sort in CYCLE else -1
        self.sort, self.reversed = CYCLE[(at + 1) % len(CYCLE)], False

    def sort_by(self, column: str) -> None:
        """Sort by a column, or reverse the order if the table is sorted by it already."""
        self.reversed = column == self.sort and not self.reversed
        self.sort = column

    def next_filter(self) -> None:
        self.filter = (self.filter + 1) % len(FILTERS)

    def reset(self) -> None:
        """Show all experiments, newest first."""
        self.sort, self.reversed, self.filter, self.search = "#", False, 0, ""

    def accepts(self, row: Row) -> bool:
        """Return whether an experiment is shown."""
        letters = FILTERS[self.filter_name]
        if letters and row.letter not in letters:
            return False
        if not self.search:
            return True
        searched = f"{row.hypothesis} {row.verdict} {row.agent} #{row.number}".lower()
        return self.search.lower() in searched

    def order(self, rows: Iterable[Row]) -> list[int]:
        """Return the numbers of the shown experiments in order."""
        return [row.number for row in sorted(filter(self.accepts, rows), key=self.sort_key, reverse=self.largest_first)]


def fitting_columns(width: int, terminal: int) -> dict[str, int]:
    """Return the columns of a table and their widths, in order.

    Args:
        width: Columns of a line of the table.
        terminal: Columns of the terminal.
    """
    widths = COLUMNS | {"verdict": LONGEST_VERDICT if width >= ROOMY else COLUMNS["verdict"]}
    names = {name for name in ALWAYS if width >= NARROW or name != "val_bpb"}
    for name in OPTIONAL:
        is_useful = terminal >= WIDE or name not in OF_WIDE_TERMINALS
        if is_useful and width - sum(widths[each] for each in (*names, name)) >= LEAST:
            names.add(name)
    wider = len(EXPLAINED) + 2 - widths["change"]
    if width - sum(widths[name] for name in names) - wider >= min(LEAST_EXPLAINED, width // 2):
        widths["change"] += wider
    return {name: columns for name, columns in widths.items() if name in names}


def is_explained(columns: Mapping[str, int]) -> bool:
    """Return whether a title of the table says that a minus is better."""
    return columns.get("change", 0) > len(EXPLAINED)


def title(choice: Choice, columns: Mapping[str, int], width: int, *, empty: bool) -> str:
    """Return what the table shows, in at most `width` columns if possible.

    Args:
        choice: The order, the filter and the search.
        columns: The columns; empty before the first rows.
        width: Columns for the title.
        empty: Whether nothing matches.
    """
    text = f"experiments · {choice.summary}{' · nothing matches' if empty else ''}"
    if not columns or is_explained(columns):
        return text
    longer = (f"{text} · {note}" for note in EXPLANATIONS)
    return next((one for one in longer if len(one) <= width), text)


def new_note(count: int, choice: Choice) -> str:
    """Return how to see experiments that were added out of sight, or '' if there are none."""
    shown_by, them = "g" if choice.shows_all else "escape", "it" if count == 1 else "them"
    return f"{count} new, {shown_by} shows {them}" if count else ""


def heading(columns: Mapping[str, int], choice: Choice) -> Text:
    """Return the titles of the columns as one line, with an arrow beside the one that the table is sorted by."""
    line, arrow, start = "", DOWN if choice.largest_first else UP, 0
    for name, width in columns.items():
        title = EXPLAINED if name == "change" and is_explained(columns) else name
        cell = _cell(name, width, title)[0]
        if name == choice.sort:  # in the gap beside the title, so that no column needs to be wider
            start = len(line) + cell.index(title) - 1 if name in RIGHT else len(line) + len(title)
        line += cell
    line = line.ljust(start + 1)
    return (
        _joined([(line[:start] + arrow + line[start + 1 :], "")]) if choice.sort in columns else _joined([(line, "")])
    )


def column_at(columns: Mapping[str, int], x: int) -> str | None:
    """Return the column at a position of a line, counted from 0, or None outside of the columns."""
    start = 0
    for name, width in columns.items():
        start += width
        if 0 <= x < start or not width:
            return name
    return None


def row_text(row: Row, columns: Mapping[str, int], colour: Callable[[str], str], *, marked: bool = False) -> Text:
    """Return an experiment as one line. `colour` returns the style of a tone in the current theme."""
    dim = colour("text-muted")
    cells = {
        "#": _number(row, colour("accent"), marked),
        "verdict": (_verdict(row.verdict, columns["verdict"]), colour(row.tone)),
        "val_bpb": (words.bpb(row.val_bpb), ""),
        "change": (words.change(row.change), colour(row.tone) if row.change is not None else dim),
        "mem": (words.memory(row.memory), dim),
        "tok/s": (words.rate(row.tokens_per_s), dim),
        "agent": (row.agent, dim),
        "±lines": (f"+{row.added} −{row.removed}", dim),
        "time": (words.duration(row.seconds) if row.seconds else words.MISSING, dim),
        "hypothesis": (row.hypothesis, ""),
    }
    return _joined([_cell(name, width, *cells[name]) for name, width in columns.items()])


def number_of(line: Text) -> int:
    """Return the experiment's number from a line of the table."""
    return int(line.plain[: COLUMNS["#"]].strip().lstrip(MARK + RERUN + RERAN))


def _number(row: Row, accent: str, marked: bool) -> tuple[str, str]:
    """Return the number of an experiment with its signs, and its style. `accent`: the colour of an experiment with a sign."""
    text = f"{MARK if marked else ''}{RERUN if row.reruns else RERAN if row.was_rerun else ''}{row.number}"
    fits = len(text) < COLUMNS["#"]
    return (text if fits else str(row.number), f"bold {accent}" if marked or row.reruns else "")


def _verdict(text: str, width: int) -> str:
    """Return a verdict, in fewer letters if a human gave it and the column is too narrow."""
    return text if len(text) < width else text.replace(phrases.BY_YOU, ", you")


def _cell(name: str, width: int, text: str, style: str = "") -> tuple[str, str]:
    """Return a text padded or truncated to the width of its column, and its style. The last column has no fixed width."""
    width -= 1
    if width < 0:
        return text, style
    if cell_len(text) > width:
        text = f"{set_cell_size(text, width - 1)}…"
    gap = " " * (width - cell_len(text))
    return (f"{gap}{text} " if name in RIGHT else f"{text}{gap} "), style


def _joined(cells: Iterable[tuple[str, str]]) -> Text:
    return Text.assemble(*cells, no_wrap=True, overflow="ellipsis")
