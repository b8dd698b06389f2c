"""Which panes the main screen shows at once, and where, by the size of the terminal. Pure.

A new pane needs a place in each layout, or a pane whose place it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LEAST = (60, 16)  # least columns and rows for the panes
LEAST_TABLE, LEAST_PROGRESS = 7, 7  # rows of these panes if the table has the progress below it
FRAME = 3  # rows of the table for its border and titles
AROUND = 4  # rows of a small screen for status, tabs and keys
LEAST_ANSWER = (40, 10)  # least columns and rows in which a proposal can be read and answered


@dataclass(frozen=True)
class Layout:
    """An arrangement of panes in a grid, row by row in the order of the registry.

    Attributes:
        least: The least columns and rows of the terminal.
        columns: The widths of the columns, as in Textual's `grid-columns`.
        rows: The heights of the rows, as in Textual's `grid-rows`.
        spans: Name of each pane that is shown -> the columns and rows of the grid that it covers.
        instead: Name of each other pane -> the pane whose place it takes while it has the focus. It must stand on the same side
            of all other panes in the registry.
    """

    least: tuple[int, int]
    columns: str = "1fr"
    rows: str = "1fr"
    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    instead: Mapping[str, str] = field(default_factory=dict)

    @property
    def shows_one(self) -> bool:
        """Whether one pane is shown at a time."""
        return not self.spans

    @property
    def shows_all(self) -> bool:
        """Whether every pane is shown."""
        return bool(self.spans) and not self.instead

    def places(self, current: str) -> dict[str, tuple[int, int]]:
        """Return name -> span of the panes to show while `current` has the focus."""
        if self.shows_one:
            return {current: (1, 1)}
        replaced = self.instead.get(current)
        return {current if name == replaced else name: span for name, span in self.spans.items()}

    def zoomed(self, current: str) -> dict[str, tuple[int, int]]:
        """Return name -> span of the one pane that covers the whole grid."""
        return {current: (len(self.columns.split()), len(self.rows.split()))}


LAYOUTS = (
    Layout(  # the machine has room for graphs
        (120, 42), "3fr 6fr 3fr", "2fr 2fr 3fr 6",
        {"program": (1, 2), "change": (1, 2), "loss": (1, 1), "machine": (1, 1), "experiments": (2, 1), "night": (1, 1),
         "activity": (3, 1)},
    ),
    Layout(
        (120, 36), "3fr 6fr 3fr", "1fr 7 1fr 6",
        {"program": (1, 2), "change": (1, 2), "loss": (1, 1), "machine": (1, 1), "experiments": (2, 1), "night": (1, 1),
         "activity": (3, 1)},
    ),
    Layout(
        (120, 32), "5fr 4fr 3fr", "1fr 1fr 8",
        {"change": (1, 1), "loss": (1, 1), "machine": (1, 1), "experiments": (2, 1), "night": (1, 1), "activity": (3, 1)},
        {"program": "change"},
    ),
    Layout(
        (120, 26), "5fr 4fr 3fr", "1fr 1fr 5",
        {"change": (1, 1), "loss": (1, 1), "machine": (1, 1), "experiments": (2, 1), "night": (1, 1), "activity": (3, 1)},
        {"program": "change"},
    ),
    Layout(
        (96, 26), "3fr 2fr", "1fr 1fr 7",
        {"change": (1, 1), "loss": (1, 1), "experiments": (2, 1), "night": (1, 1), "activity": (1, 1)},
        {"program": "change", "machine": "loss"},
    ),
    Layout(
        (72, 32), "1fr", "1fr 1fr 9",
        {"change": (1, 1), "experiments": (1, 1), "night": (1, 1)},
        {"program": "change", "loss": "change", "machine": "change", "activity": "night"},
    ),
    Layout(LEAST),
)  # fmt: skip


def height_above_progress(rows: int, height: int) -> int | None:
    """Return the height of the table where one pane is shown at a time, if there is room for the progress below it.

    Args:
        rows: The experiments in the table.
        height: The rows for both.

    Returns:
        None if the table needs the room itself, or is empty.
    """
    table = max(LEAST_TABLE, rows + FRAME)
    return table if rows and height - table >= LEAST_PROGRESS else None


def fitting_layout(width: int, height: int) -> Layout:
    """Return the first layout that fits into the terminal; the last one if none does."""
    return next((one for one in LAYOUTS if width >= one.least[0] and height >= one.least[1]), LAYOUTS[-1])
