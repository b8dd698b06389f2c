"""Recorded nights with their folders, for the tests of trackers."""

from __future__ import annotations

import shutil
from pathlib import Path

from core.record import journal
from core.track.base import Tracker
from core.track.sending import send

TESTS = Path(__file__).resolve().parents[2]
START_AND_TRAINED = 9  # of the run nov23: the start, and its experiments without the one that the human skipped


def with_files(logs: Path) -> Path:
    """Copy the run whose trainings left their files: two kept, three crashes, three discarded, one skipped."""
    return Path(shutil.copytree(TESTS / "tui" / "recorded" / "nov23", logs / "nov23"))


def journal_alone(logs: Path) -> Path:
    """Copy the journal of a real night of one minute a training. The files of its trainings are gone."""
    (logs / "found").mkdir()
    shutil.copyfile(TESTS / "recorded" / "found" / journal.NAME, logs / "found" / journal.NAME)
    return logs / "found"


def exported(folder: Path, tracker: Tracker, name: str = "tracker") -> list[str]:
    """Export a run, and return what was said."""
    said: list[str] = []
    send(folder, name, tracker, said.append, follow=False)
    return said
