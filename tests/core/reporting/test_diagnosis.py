"""A training against its parent's, in words and numbers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.reporting.diagnosis import Training, at, curve, words


def straight(start: float, end: float) -> tuple[tuple[float, float], ...]:
    return tuple((i / 20, start + (end - start) * i / 20) for i in range(1, 21))


def test_losses_at_equal_progress_speed_memory_and_steps() -> None:
    ours = Training(90, 4500.0, 220_000_000, straight(6.0, 3.0))
    parent = Training(100, 5000.0, 200_000_000, straight(6.0, 4.0))
    assert words(ours, parent) == (
        "training loss 5.250 against 5.500 at 25%, 4.500 against 5.000 at 50%, 3.750 against 4.500 at 75%, 3.000 against 4.000 "
        "at 100%: ahead of its parent all the way; 90 steps against 100 (-10%); 4500 tokens/s against 5000 (-10%); "
        "220 MB of memory against 200 (+10%)"
    )
    assert "against" not in words(ours, None) and words(Training(), parent) == ""


@pytest.mark.parametrize(
    ("ours", "course"),
    [
        (straight(7.0, 3.0), "behind its parent first, ahead of it at the end"),
        (straight(5.0, 5.0), "ahead of its parent first, behind it at the end"),
        (straight(6.0, 4.0), "level with its parent all the way"),
        (straight(6.0, 4.0)[:6] + straight(6.0, 5.0)[6:], "behind its parent for most of the way"),
        (straight(8.0, 4.0), "behind its parent first, level with it at the end"),
    ],
)
def test_the_course_in_words(ours: tuple[tuple[float, float], ...], course: str) -> None:
    assert course in words(Training(1, 1.0, 1, ours), Training(1, 1.0, 1, straight(6.0, 4.0)))


def test_a_curve_that_broke_off_says_nothing_of_the_rest() -> None:
    short = straight(6.0, 4.0)[:9]
    assert at(short, 0.25) == pytest.approx(5.5) and at(short, 0.75) is None and at((), 0.5) is None


@given(
    st.lists(
        st.one_of(
            st.text(),
            st.builds(json.dumps, st.dictionaries(st.sampled_from(["step", "progress", "loss"]), st.floats())),
        )
    )
)
def test_any_lines_will_do(lines: list[str]) -> None:
    points = curve(lines)
    assert all(0 <= progress <= 1 for progress, _ in points) and points == tuple(sorted(points))
    words(Training(1, 1.0, 1, points), Training(1, 1.0, 1, points[::2]))
