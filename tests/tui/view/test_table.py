"""Which columns the table of experiments has at which width."""

from __future__ import annotations

import pytest

from tui.view.experiments import Row
from tui.view.table import LEAST, fitting_columns, row_text

OURS = Row(7, "D", "discarded, by you", "", 1.5, 0.01, 9 << 30, 24_000.0, "search", 1, 1, 60.0, "A larger step.")


@pytest.mark.parametrize(
    ("width", "terminal"), [(58, 60), (78, 80), (88, 120), (98, 100), (103, 140), (116, 120), (148, 159)]
)
def test_memory_and_speed_leave_the_width_to_the_hypothesis_below_160_columns(width: int, terminal: int) -> None:
    columns = fitting_columns(width, terminal)
    assert not {"mem", "tok/s"} & set(columns)
    assert width - sum(columns.values()) >= min(LEAST, width // 2), "at least half of a narrow line"


def test_a_wide_terminal_has_all_columns_in_their_order() -> None:
    names = ["#", "verdict", "val_bpb", "change", "mem", "tok/s", "agent", "±lines", "time", "hypothesis"]
    assert list(fitting_columns(148, 200)) == names


@pytest.mark.parametrize(("width", "verdict"), [(98, "discarded, by you "), (78, "discarded, you ")])
def test_a_verdict_of_the_human_is_whole_at_every_width(width: int, verdict: str) -> None:
    assert verdict in row_text(OURS, fitting_columns(width, width + 2), lambda tone: "").plain
