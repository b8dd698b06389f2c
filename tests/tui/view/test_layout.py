"""Which panes are shown at which size."""

from __future__ import annotations

import pytest

from tui.panes import registry
from tui.view.layout import LAYOUTS, fitting_layout, height_above_progress

NAMES = [entry.name for entry in registry.ENTRIES]


@pytest.mark.parametrize(
    ("size", "count"),
    [((200, 50), 7), ((120, 36), 7), ((140, 34), 6), ((160, 30), 6), ((120, 26), 6), ((100, 40), 5), ((80, 40), 3), ((80, 24), 1),
     ((60, 16), 1), ((20, 5), 1)],
)  # fmt: skip
def test_the_number_of_panes_shrinks_with_the_terminal(size: tuple[int, int], count: int) -> None:
    assert len(fitting_layout(*size).places("experiments")) == count


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_pane_can_be_shown_and_keeps_its_place_in_the_order(layout: object) -> None:
    assert layout in LAYOUTS
    one = LAYOUTS[LAYOUTS.index(layout)]  # type: ignore[arg-type]
    if one.shows_one:
        assert [list(one.places(name)) for name in NAMES] == [[name] for name in NAMES]
        return
    assert sorted([*one.spans, *one.instead]) == sorted(NAMES), "a new pane needs a place in each layout"
    cells = len(one.columns.split()) * len(one.rows.split())
    for name in NAMES:
        places = one.places(name)
        assert name in places and sum(columns * rows for columns, rows in places.values()) == cells, "the grid is full"
        order = [NAMES.index(each) for each in places]
        assert order == sorted(order), "the grid is filled in the order of the registry"


@pytest.mark.parametrize(
    ("rows", "height", "table"), [(0, 20, None), (2, 20, 7), (9, 20, 12), (10, 20, 13), (11, 20, None), (3, 12, None)]
)
def test_the_progress_is_below_a_short_table(rows: int, height: int, table: int | None) -> None:
    assert height_above_progress(rows, height) == table
