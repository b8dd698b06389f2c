"""The GPU as seen from outside: whose memory is whose, and for how long the clock was held down."""

from __future__ import annotations

import shutil

import pytest

from nanochat.gpu import Gauge, Reading, read

GB = 1_000_000_000


def test_own_memory_is_told_from_that_of_others() -> None:
    gauge = Gauge(Reading(2 * GB, {50: GB}))
    gauge.take(Reading(5 * GB, {50: GB, 101: 2 * GB, 102: GB}), {100, 101, 102})
    gauge.take(Reading(9 * GB, {50: 6 * GB, 101: GB}), {100, 101, 102})
    assert gauge.peak == 3 * GB and gauge.others == 6 * GB


def test_where_the_driver_names_no_process_of_ours_the_growth_is() -> None:
    """In a container the driver tells the numbers that processes have outside of it, or none."""
    gauge = Gauge(Reading(2 * GB, {}))
    gauge.take(Reading(7 * GB, {4711: 5 * GB}), {101})
    assert gauge.peak == 5 * GB and gauge.others == 0


def test_the_share_of_time_that_the_clock_was_held_down() -> None:
    gauge = Gauge(Reading(0, {}))
    assert gauge.held_down == 0.0
    for hot in (False, True, True, False):
        gauge.take(Reading(GB, {1: GB}, hot), {1})
    assert gauge.held_down == 0.5


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="here is a GPU")
def test_without_a_driver_nothing_is_read_and_nothing_fails() -> None:
    assert read() is None
    gauge = Gauge(None)
    gauge.look({1})
    assert (gauge.peak, gauge.others, gauge.held_down) == (0, 0, 0.0)
