"""What counts against the budget, and the pace of a training. Pure."""

from __future__ import annotations

import pytest

from nanochat.harness.charges import free_first_s, grace_s, large_steps, long_answers, pace


def test_long_answers_are_charged_but_for_a_little() -> None:
    even = [0.06, 0.05, 0.07] * 20
    assert long_answers([]) == long_answers(even) == long_answers([0.4, *even]) == 0.0
    assert long_answers([8.0, *even]) == pytest.approx(8.0 - 0.28 - 0.5)
    assert long_answers([*even, 3.0, 3.0]) > 4.5


def test_first_answers_on_a_gpu_are_free_for_a_tenth_of_the_budget_within_bounds() -> None:
    assert free_first_s(300.0, gpu=False) == 0.5
    assert [free_first_s(budget, gpu=True) for budget in (1.0, 30.0, 300.0)] == [2.5, 3.0, 5.0]


def test_only_long_steps_explain_a_late_end() -> None:
    assert grace_s(1.0) == 0.5 and grace_s(60.0) == pytest.approx(1.8)
    assert "a step took 0.9 s" in large_steps(2.6, 3, 2.0)
    assert large_steps(2.4, 3, 2.0) == "", "it was not late"
    assert large_steps(2.6, 300, 2.0) == "", "its steps were short"
    assert large_steps(2.6, 0, 2.0) == ""


def test_the_pace_is_that_of_each_quarter() -> None:
    even = [(second / 2, 5 * second) for second in range(1, 17)]  # 10 steps a second for 8 seconds
    assert pace(even) == (10.0,) * 4
    slower = [(at, steps if at <= 4 else 40 + (steps - 40) // 2) for at, steps in even]
    first, second, third, fourth = pace(slower)
    assert first == second == 10.0 and third == pytest.approx(5.0, abs=0.5) and fourth == pytest.approx(5.0, abs=0.5)


def test_a_short_training_has_no_pace() -> None:
    assert pace([(index / 10, index) for index in range(1, 17)]) == (), "1.6 seconds"
    assert pace([(float(index), index) for index in range(1, 8)]) == (), "7 points"
    assert pace([]) == ()


def test_a_quarter_without_a_step_has_no_pace() -> None:
    curve = [(0.1, 1)] * 7 + [(8.0, 80)]
    assert pace(curve) == (10.0, pytest.approx(10.0))
