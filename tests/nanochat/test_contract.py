"""Small parts of the contract: lines of a training curve, and the reasons of a throttled GPU."""

from __future__ import annotations

import math

import pytest

from nanochat.contract import metrics, throttling
from nanochat.contract.metrics import Point


def test_a_point_is_read_as_it_was_written() -> None:
    written = Point(7, 0.123456, {"loss": 2.5, "lr_scale": 1.0})
    assert metrics.point(metrics.line(written)) == written._replace(progress=0.12346)


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ('{"step": 1, "progress": 0.5, "loss": NaN, "lr": 1}', {"lr": 1.0}),
        ('{"step": 1, "progress": 0.5, "loss": "2", "flag": true, "none": null, "deep": [1]}', {}),
        (f'{{"step": 1, "progress": 0.5, "huge": 1{"0" * 400}}}', {}),
    ],
)
def test_only_finite_numbers_are_read(line: str, values: dict[str, float]) -> None:
    assert metrics.point(line) == Point(1, 0.5, values)


@pytest.mark.parametrize(
    "line",
    [
        "", "x", '{"step": 1, "prog', "[1, 2]", "3", '{"progress": 0.5, "loss": 2.0}', '{"step": 1, "loss": 2.0}',
        '{"step": 1, "progress": Infinity, "loss": 2.0}', '{"step": NaN, "progress": 0.5}', "[" * 100_000,
    ],
)  # fmt: skip
def test_a_line_without_step_or_progress_is_skipped(line: str) -> None:
    assert metrics.point(line) is None


def test_a_gpu_is_throttled_by_heat_power_and_faults_but_not_by_idling() -> None:
    assert throttling.reasons(0x20 | 0x40) == ("heat",), "two bits, one reason"
    assert throttling.reasons(0x08 | 0x80) == ("hardware slowdown", "power brake")
    idle, power_cap = 0x01, 0x04
    assert throttling.reasons(idle | power_cap) == ()
    assert throttling.reasons(None) == () == throttling.reasons(math.nan), "the driver gave no number"
