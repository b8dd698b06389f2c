"""Small parts of the main loop; the loop itself is run for real in tests/e2e."""

from __future__ import annotations

from core.loop import Waiting


def test_a_countdown_stands_still_as_long_as_anybody_reads() -> None:
    asked = Waiting(number=1, left_s=60.0)
    assert not asked.held
    asked.holders |= {"one app", "another"}
    asked.holders.discard("another")
    assert asked.held
    asked.holders.discard("one app")
    assert not asked.held
