"""Journals of earlier versions, and what that version showed of them: this one must read and show them the same."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from core.judging import schedule
from core.record import journal
from core.record.fold import apply, fold
from core.record.live import Picture
from core.record.state import State
from core.reporting import log_lines, publish, status, summary
from core.verdicts import Verdict

RECORDED = Path(__file__).resolve().parents[2] / "recorded"
NIGHTS = sorted(path.name for path in RECORDED.iterdir())


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The lines of the log begin with the time of day."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def shown(folder: Path, out: Path) -> dict[str, Any]:
    state, log = State(name=folder.name), []
    for event in journal.read(folder / journal.NAME):
        apply(state, event)
        log.append(log_lines.line(event, state))
    noise = schedule.noise(state)
    facts = status.status(state, noise, None, Picture(), [])
    publish.publish(out, state, noise.sigma)
    return {
        "log": [line for line in log if line is not None],
        "status": summary.text(summary.summary(facts)),
        "summary": summary.at_end(facts, "logs/x", "a branch"),
        "facts": json.loads(msgspec.json.encode(facts)),
        **{path.name: path.read_text(encoding="utf-8") for path in out.iterdir()},
    }


@pytest.mark.parametrize("night", NIGHTS)
def test_a_recorded_night_is_shown_as_it_was(night: str, tmp_path: Path) -> None:
    expected = json.loads((RECORDED / night / "shown.json").read_text(encoding="utf-8"))
    found = shown(RECORDED / night, tmp_path)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == value, name


def test_every_verdict_was_recorded() -> None:
    states = [fold(journal.read(RECORDED / night / journal.NAME)) for night in NIGHTS]
    assert {e.verdict for state in states for e in state.experiments.values() if e.verdict} == set(Verdict)
    assert {state.stopped is None for state in states} == {True, False}, "some were killed"
