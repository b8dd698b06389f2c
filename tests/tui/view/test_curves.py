"""Loss curves from files that grow, tear, and are rewritten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui.view.curves import Curve, thin


@given(st.one_of(st.text(), st.from_regex(r'\{"step": \d, "progress": \S{1,5}, "loss": \S{1,5}\}')))
def test_anything_may_stand_in_a_line(text: str) -> None:
    curve = Curve()
    curve.add(text)
    assert len(curve.progress) == len(curve.loss) == len(curve.smooth())


def test_what_is_not_finite_is_left_out() -> None:
    curve = Curve()
    for text in (
        '{"step": 1, "progress": 0.1, "loss": NaN}',
        '{"step": 1, "progress": 0.1, "loss": Infinity}',
        '{"step": 2, "progress": 0.2, "loss": 3.0}',
    ):
        curve.add(text)
    assert curve.loss == [3.0]


def test_the_mean_has_no_bias_at_its_start() -> None:
    curve = Curve([0.0, 0.5, 1.0], [4.0, 4.0, 4.0])
    assert all(abs(value - 4.0) < 1e-9 for value in curve.smooth())
    assert curve.at(0.4) == curve.smooth()[0] and curve.at(-1.0) is None


@given(st.lists(st.floats(-10, 10), max_size=300), st.integers(1, 50))
def test_thinning_keeps_the_mean_and_the_number(values: list[float], count: int) -> None:
    xs, ys = thin(list(range(len(values))), values, count)
    assert len(xs) == len(ys) == min(len(values), count)
    if values and len(values) % count == 0:
        assert abs(sum(ys) / len(ys) - sum(values) / len(values)) < 1e-6


def test_smoothing_as_points_arrive_is_smoothing_at_the_end() -> None:
    losses = [5.0, 4.0, 4.5, 3.0, 3.5]
    growing, whole = Curve(), Curve([0.0] * 5, list(losses))
    for loss in losses:
        growing.add(f'{{"step": 1, "progress": 0.0, "loss": {loss}}}')
        growing.smooth()
    assert list(growing.smooth()) == list(whole.smooth())
