"""Round values on an axis, and the range of a chart."""

from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from core.reporting.axes import decimals, ticks


def test_every_axis_has_two_round_values_that_differ_as_text() -> None:
    dice = random.Random(1)
    for _ in range(2000):
        low = dice.uniform(0.5, 8.0)
        high = low + 10 ** dice.uniform(-3, 1)
        found = ticks(low, high, dice.choice((2, 3, 5)))
        assert len(found) >= 2 and low - 1e-9 <= found[0] and found[-1] <= high + 1e-9
        assert len({f"{value:.{decimals(found)}f}" for value in found}) == len(found)


def test_a_narrow_range_has_labels_that_are_true() -> None:
    found = ticks(3.2105, 3.2391, 2)
    assert [f"{value:.{decimals(found)}f}" for value in found] == ["3.22", "3.23"]


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(1, 9),
)
def test_any_two_numbers_have_an_axis(one: float, other: float, count: int) -> None:
    low, high = sorted((one, other))
    if low == high:
        return
    found = ticks(low, high, count)
    assert 2 <= len(found) < 200 and found == sorted(set(found)) and all(map(math.isfinite, found))
    assert 0 <= decimals(found) <= 6
