"""A line of the terminal as cells, and which of them have changed. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import get_character_cell_size
from rich.style import Style
from textual.strip import Strip

Cell = tuple[str, Style | None]  # what is drawn in it; "" in the second cell of a wide character
Line = list[Cell | None]  # None: not known
NEAR = 8  # unchanged cells between two changed ones that cost no more than another movement of the cursor


def cells_of(strip: Strip) -> Sequence[Cell | None]:
    """Return the cells of a strip. They are not known if its characters are not as wide as the strip says."""
    cells: list[Cell] = []
    for text, style, _ in strip:
        if text.isascii():
            cells += [(character, style) for character in text]
            continue
        for character in text:
            width = get_character_cell_size(character)
            if width:
                cells += [(character, style), ("", style)][:width]
            elif cells:  # such as an accent, which is drawn over the character before it
                cells[-1] = (cells[-1][0] + character, cells[-1][1])
    return cells if len(cells) == strip.cell_length else [None] * strip.cell_length


def changed_runs(before: Sequence[Cell | None], after: Sequence[Cell | None]) -> Iterator[tuple[int, int]]:
    """Yield the parts of a line that have changed, each as its first cell and the cell after its last one.

    Args:
        before: The cells that are shown.
        after: As many cells that are to be shown. Cells that are not known are taken as changed.
    """
    changed = [x for x, (old, new) in enumerate(zip(before, after, strict=True)) if old != new or new is None]
    start = end = -1
    for x in changed:
        if start < 0:
            start = x
        elif x - end > NEAR:
            yield _whole_characters(before, after, start, end)
            start = x
        end = x + 1
    if start >= 0:
        yield _whole_characters(before, after, start, end)


def _whole_characters(
    before: Sequence[Cell | None], after: Sequence[Cell | None], start: int, end: int
) -> tuple[int, int]:
    """Return a part of a line, extended to whole characters, since half of a wide one cannot be drawn."""
    while start > 0 and (_continues(before[start]) or _continues(after[start])):
        start -= 1
    while end < len(after) and (_continues(before[end]) or _continues(after[end])):
        end += 1
    return start, end


def _continues(cell: Cell | None) -> bool:
    return cell is not None and not cell[0]
