"""Loss curves from files that grow, tear, and are rewritten."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tui.view.curves import Curve, Tail, thin


def line(progress: float, loss: float) -> str:
    return json.dumps({"step": 1, "progress": progress, "loss": loss}) + "\n"


@given(st.one_of(st.text(), st.from_regex(r'\{"progress": \S{1,5}, "loss": \S{1,5}\}')))
def test_anything_may_stand_in_a_line(text: str) -> None:
    curve = Curve()
    curve.add(text)
    assert len(curve.progress) == len(curve.loss) == len(curve.smooth())


def test_what_is_not_finite_is_left_out() -> None:
    curve = Curve()
    for text in (
        '{"progress": 0.1, "loss": NaN}',
        '{"progress": 0.1, "loss": Infinity}',
        '{"progress": 0.2, "loss": 3.0}',
    ):
        curve.add(text)
    assert curve.loss == [3.0]


def test_the_mean_has_no_bias_at_its_start() -> None:
    curve = Curve([0.0, 0.5, 1.0], [4.0, 4.0, 4.0])
    assert all(abs(value - 4.0) < 1e-9 for value in curve.smooth())
    assert curve.at(0.4) == curve.smooth()[0] and curve.at(-1.0) is None


def test_a_tail_takes_whole_lines_only_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path)
    assert not tail.read()
    path.write_text(line(0.1, 5.0) + '{"progress": 0.2, "lo')
    assert tail.read() and tail.curve.loss == [5.0]
    with path.open("a") as file:
        file.write('ss": 4.0}\n')
    assert tail.read() and tail.curve.loss == [5.0, 4.0]
    assert not tail.read()


def test_a_rewritten_file_is_read_afresh(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(line(i / 10, 9.0 - i) for i in range(9)))
    tail = Tail(path)
    tail.read()
    path.write_text("".join(line(i / 10, 9.0 - i) for i in range(0, 9, 2)))
    assert tail.read() and len(tail.curve.loss) == 5


@given(st.lists(st.floats(-10, 10), max_size=300), st.integers(1, 50))
def test_thinning_keeps_the_mean_and_the_number(values: list[float], count: int) -> None:
    xs, ys = thin(list(range(len(values))), values, count)
    assert len(xs) == len(ys) == min(len(values), count)
    if values and len(values) % count == 0:
        assert abs(sum(ys) / len(ys) - sum(values) / len(values)) < 1e-6
