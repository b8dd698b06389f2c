"""The table of experiments as text: columns, sort orders and filters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, get_args

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from core.verdicts import Group, Verdict
from tui.view import words
from tui.view.experiments import Row

SORTS: tuple[tuple[str, Callable[[Row], Any]], ...] = (
    ("newest first", lambda row: -row.number),
    (
        "kept first, then best first",
        lambda row: (row.letter not in FILTERS["kept"], row.val_bpb is None, row.val_bpb or 0.0),
    ),
    ("largest gain first", lambda row: (row.change is None, row.change or 0.0)),
    ("longest first", lambda row: -row.seconds),
    ("by agent", lambda row: (row.agent, -row.number)),
)
FILTERS: dict[str, str] = {  # name -> letters of the verdicts to show; '' for all
    "all": "",
    **{group: "".join(verdict.letter for verdict in Verdict if verdict.group == group) for group in get_args(Group)},
    "open": " ",
}
COLUMNS = {  # title -> width, including a gap to the next column; 0: the rest of the line
    "#": 6, "verdict": 16, "val_bpb": 8, "change": 9, "mem": 8, "tok/s": 6, "agent": 11, "±lines": 9, "time": 6, "hypothesis": 0,
}  # fmt: skip
RIGHT = ("#", "val_bpb", "change", "mem", "tok/s", "time")  # columns that are aligned to the right
ALWAYS = ("#", "verdict", "val_bpb", "change", "hypothesis")
OPTIONAL = ("tok/s", "mem", "±lines", "agent", "time")  # shown if there is room, by this priority
LEAST = 56  # least width of the hypothesis, which has priority over the optional columns


@dataclass
class Choice:
    """The sort order, filter and search of the table."""

    sort: int = 0
    filter: int = 0
    search: str = ""

    @property
    def shows_all(self) -> bool:
        """Whether all experiments are shown, newest first."""
        return not (self.sort or self.filter or self.search)

    @property
    def sort_name(self) -> str:
        return SORTS[self.sort][0]

    @property
    def sort_key(self) -> Callable[[Row], Any]:
        return SORTS[self.sort][1]

    @property
    def filter_name(self) -> str:
        return list(FILTERS)[self.filter]

    def restore(self, filter: str, sort: str) -> None:
        """Choose a filter and an order by their names. Unknown names, such as those of another version, mean the first."""
        filters, sorts = list(FILTERS), [name for name, _ in SORTS]
        self.filter = filters.index(filter) if filter in filters else 0
        self.sort = sorts.index(sort) if sort in sorts else 0

    def next_sort(self) -> None:
        self.sort = (self.sort + 1) % len(SORTS)

    def next_filter(self) -> None:
        self.filter = (self.filter + 1) % len(FILTERS)

    def reset(self) -> None:
        """Show all experiments, newest first."""
        self.sort, self.filter, self.search = 0, 0, ""

    def accepts(self, row: Row) -> bool:
        """Return whether an experiment is shown."""
        letters = FILTERS[self.filter_name]
        if letters and row.letter not in letters:
            return False
        searched = f"{row.hypothesis} {row.verdict} {row.agent} #{row.number}".lower()
        return self.search.lower() in searched

    def order(self, rows: Iterable[Row]) -> list[int]:
        """Return the numbers of the shown experiments in order."""
        return [row.number for row in sorted(filter(self.accepts, rows), key=self.sort_key)]


def fitting_columns(width: int) -> tuple[str, ...]:
    """Return the columns that fit into a table of this width, in order."""
    names = set(ALWAYS)
    for name in OPTIONAL:
        if width - sum(COLUMNS[each] for each in (*names, name)) >= LEAST:
            names.add(name)
    return tuple(name for name in COLUMNS if name in names)


def heading(columns: Iterable[str]) -> Text:
    """Return the titles of the columns as one line."""
    return _joined([_cell(name, name) for name in columns])


def row_text(row: Row, columns: Iterable[str], colour: Callable[[str], str]) -> Text:
    """Return an experiment as one line. `colour` returns the style of a tone in the current theme."""
    dim = colour("text-muted")
    cells = {
        "#": (str(row.number), ""),
        "verdict": (row.verdict, colour(row.tone)),
        "val_bpb": (words.bpb(row.val_bpb), ""),
        "change": (words.change(row.change), colour(row.tone) if row.change is not None else dim),
        "mem": (words.memory(row.memory), dim),
        "tok/s": (words.rate(row.tokens_per_s), dim),
        "agent": (row.agent, dim),
        "±lines": (f"+{row.added} −{row.removed}", dim),
        "time": (words.duration(row.seconds) if row.seconds else words.MISSING, dim),
        "hypothesis": (row.hypothesis, ""),
    }
    return _joined([_cell(name, *cells[name]) for name in columns])


def number_of(line: Text) -> int:
    """Return the experiment's number from a line of the table."""
    return int(line.plain[: COLUMNS["#"]])


def _cell(name: str, text: str, style: str = "") -> tuple[str, str]:
    """Return a text padded or truncated to the width of its column, and its style. The last column has no fixed width."""
    width = COLUMNS[name] - 1
    if width < 0:
        return text, style
    if cell_len(text) > width:
        text = f"{set_cell_size(text, width - 1)}…"
    gap = " " * (width - cell_len(text))
    return (f"{gap}{text} " if name in RIGHT else f"{text}{gap} "), style


def _joined(cells: Iterable[tuple[str, str]]) -> Text:
    return Text.assemble(*cells, no_wrap=True, overflow="ellipsis")
