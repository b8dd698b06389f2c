"""The start of a run's own copy of the harness. What it imports is tested in tests/core/run/test_integrity.py."""

from __future__ import annotations

from core.execution import launch
from nanochat.contract import layout


def test_the_list_of_copies_has_one_name() -> None:
    """The file cannot import the name, because its text runs before any module of the project can be found."""
    assert launch.LIST == layout.COPIES
