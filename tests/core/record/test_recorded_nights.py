"""Journals of earlier versions, and what that version showed of them: this one must read and show them the same.

tests/recorded_nights.py writes the expected texts afresh, and says when that may be done.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from core.record import journal
from core.record.fold import fold
from tests.recorded_nights import NIGHTS, RECORDED, SHOWN, shown


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The lines of the log begin with the time of day."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("night", NIGHTS)
def test_a_recorded_night_is_shown_as_it_was(night: str, tmp_path: Path) -> None:
    expected = json.loads((RECORDED / night / SHOWN).read_text(encoding="utf-8"))
    found = shown(RECORDED / night, tmp_path)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == value, name


def test_the_recorded_nights_have_all_verdicts_of_their_time() -> None:
    states = [fold(journal.read(RECORDED / night / journal.NAME)) for night in NIGHTS]
    assert len({e.verdict for state in states for e in state.experiments.values() if e.verdict}) == 11
    assert {state.stopped is None for state in states} == {True, False}, "some were killed"
