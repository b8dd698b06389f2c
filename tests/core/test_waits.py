"""Waiting times that grow with each failure in a row."""

from __future__ import annotations

from core.waits import GrowingWait


def test_each_wait_is_twice_the_one_before_up_to_the_longest() -> None:
    wait = GrowingWait(2.0, 10.0)
    assert [wait.failed(100.0) for _ in range(4)] == [2.0, 4.0, 8.0, 10.0]
    assert wait.until == 110.0
    wait.succeeded()
    assert wait.failed(200.0) == 2.0


def test_a_wait_has_bounds_of_its_own() -> None:
    wait = GrowingWait(2.0, 10.0)
    assert wait.failed(0.0, most_s=1.5) == 1.5
    assert wait.failed(0.0, least_s=30.0) == 30.0, "longer than the longest, because somebody asked for it"
    assert wait.failed(0.0, least_s=5.0, most_s=3.0) == 5.0


def test_putting_off_never_makes_a_wait_shorter_and_does_not_change_the_next_one() -> None:
    wait = GrowingWait(2.0, 10.0)
    wait.failed(100.0)
    wait.put_off(101.0)
    assert wait.until == 102.0
    wait.put_off(150.0)
    assert wait.until == 150.0
    assert wait.failed(150.0) == 4.0
