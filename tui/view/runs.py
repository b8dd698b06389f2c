"""The list of all runs as text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

from core.reporting import phrases, run_table
from core.reporting.status import RunStatus
from tui.view import words

MARK = "◆"  # before the run that another one is compared with
ORDER = (
    "run",
    "kept",
    "change (- is better)",
    "phase",
    "training",
    "began",
    "agent",
    "worked",
    "start",
)  # by importance
LAST = "phase"  # takes the rest of the line
LEAST_PHASE = 16
LONGEST_RUN = 24  # columns of a name; longer ones are cut off
GAP = 2


def run_lines(runs: Sequence[RunStatus], width: int, marked: str | None) -> tuple[str, list[str]]:
    """Return the titles of the columns, and a line for each run. Columns that do not fit are left out.

    Args:
        runs: The runs.
        width: Columns of a line.
        marked: The name of the marked run, or None.
    """
    rows = [_cells(found) for found in runs]
    titles = {name: name.replace("-", "−") for name in ORDER}
    widths = {name: max(cell_len(row[name]) for row in [titles, *rows]) for name in ORDER}
    widths |= {"run": min(widths["run"], LONGEST_RUN), LAST: LEAST_PHASE}
    room, shown = width - len(MARK) - 1, set[str]()
    for name in ORDER:
        needed = widths[name] + (GAP if shown else 0)
        if room >= needed:
            shown.add(name)
            room -= needed
    widths[LAST] += max(0, room)
    columns = [name for name in run_table.HEADER if name in shown and name != LAST] + [LAST] * (LAST in shown)
    lines = [_line(row, columns, widths) for row in (titles, *rows)]
    marks = ["", *(MARK if found.run == marked else "" for found in runs)]
    head, *others = (phrases.typeset(f"{mark:<{len(MARK) + 1}}{line}") for mark, line in zip(marks, lines, strict=True))
    return head, others


def _cells(found: RunStatus) -> dict[str, str]:
    return dict(zip(run_table.HEADER, (*run_table.cells(found), words.sanitize_line(found.phase, 120)), strict=True))


def _line(cells: dict[str, str], columns: Sequence[str], widths: dict[str, int]) -> str:
    return (" " * GAP).join(_cell(cells[name], widths[name]) for name in columns).rstrip()


def _cell(text: str, width: int) -> str:
    return set_cell_size(text, width) if cell_len(text) <= width else f"{set_cell_size(text, width - 1)}…"
