"""The README: short, and with the figures of the night that it shows."""

from __future__ import annotations

from pathlib import Path

from core.judging import schedule
from core.record import journal
from core.record.fold import fold
from core.record.live import Picture
from core.record.state import State
from core.reporting.status import status

ROOT = Path(__file__).resolve().parents[1]
WORDS = 700


def test_it_has_less_than_700_words() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < WORDS


def test_its_figures_are_those_of_the_recorded_night() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    state = fold(journal.read(ROOT / "tests/recorded/default-50" / journal.NAME), State(name="night"))
    found = status(state, schedule.noise(state), None, Picture())
    assert found.gain is not None and found.final_check is not None
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in text.splitlines()]
    for one, name in ((found.gain, "during the night"), (found.final_check, "confirmed")):
        (row,) = [row for row in rows if row[0].startswith(name)]
        assert row[1:] == [f"{one.start:.4f}", f"{one.best:.4f}", f"{one.change:+.4f} ± {one.error:.4f}"]
    assert f"{found.tried} experiments" in text
    kept = " ".join(text[text.index("Kept, each confirmed: ") : text.index("The agent reads")].split())
    assert kept.count("(-0.0") == found.kept == len(found.kept_changes)
    for change in found.kept_changes:
        assert change.afresh is not None and change.afresh.holds and change.parts[0][:25] in kept
        assert f"({change.afresh.change:+.4f} ± {change.afresh.error:.4f})" in kept


def test_what_it_links_to_is_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = [part.partition(")")[0].partition("#")[0] for part in text.split("](")[1:]]
    here = [name for name in linked if "://" not in name]
    assert len(here) > 15 and all((ROOT / name).exists() for name in here)
    assert any("textual" in name for name in linked)
