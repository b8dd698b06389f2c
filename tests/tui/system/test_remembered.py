"""What the app remembers of its view: two apps at once, broken files, and which theme counts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.tui.conftest import app_on, screen_text, until
from tui.panes.experiments import ExperimentsPane
from tui.panes.loss import LossPane
from tui.system.remembered import View, ViewMemory

FULL = (120, 36)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "autoresearch" / "app.json"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_two_apps_at_once_keep_each_others_changes(path: Path) -> None:
    one, other = ViewMemory(path), ViewMemory(path)
    assert one.view == View() and not path.exists()
    assert one.save(logarithmic=True) == other.save(sort="by agent") == other.choose_theme("nord") == ""
    assert ViewMemory(path).view == View(logarithmic=True, sort="by agent", theme="nord")
    stamp = path.stat().st_mtime_ns
    assert one.save(logarithmic=True) == "" and path.stat().st_mtime_ns == stamp, "nothing has changed"
    assert os.listdir(path.parent) == ["app.json"]


def test_the_theme_that_was_chosen_last_counts(path: Path) -> None:
    assert ViewMemory(path).theme == "" and ViewMemory(path, "nord").theme == "nord"
    ViewMemory(path, "nord").choose_theme("dracula")
    assert ViewMemory(path, "nord").theme == "dracula", "the app has the last word"
    assert ViewMemory(path, "gruvbox").theme == "gruvbox", "until the config file names another theme"
    assert ViewMemory(path, "").theme == ""


@pytest.mark.parametrize("content", [b"", b"{", b'{"theme": 3}', b"\xff", b"[]", None])
def test_a_broken_file_gives_the_usual_view_and_is_replaced(path: Path, content: bytes | None) -> None:
    path.parent.mkdir(parents=True)
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    memory = ViewMemory(path)
    assert memory.view == View() and "cannot be read" in memory.problem
    if content is not None:
        assert memory.save(filter="kept") == "" and ViewMemory(path).view == View(filter="kept")


def test_a_place_that_cannot_be_written_is_said_once(path: Path) -> None:
    path.parent.parent.mkdir()
    path.parent.write_text("a file")
    memory = ViewMemory(path)
    assert "cannot be remembered" in memory.save(filter="kept") and memory.save(filter="failed") == ""
    assert memory.view.filter == "failed" and path.parent.read_text() == "a file"
    assert ViewMemory(None).save(filter="kept") == "", "nothing is to be remembered"


async def test_the_view_of_the_next_session_is_that_of_the_last(recorded: Path, path: Path) -> None:
    app = app_on(recorded, memory=ViewMemory(path, "nord"))
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        assert app.theme == "nord" and ViewMemory(path).view == View()
        await pilot.press("L", "f", "greater_than_sign")
        app.theme = "gruvbox"
        await until(pilot, lambda: ViewMemory(path).view.theme == "gruvbox")
        shown = app.query_one(ExperimentsPane).numbers
    app = app_on(recorded, memory=ViewMemory(path, "nord"))
    async with app.run_test(size=FULL, notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        table = app.query_one(ExperimentsPane)
        assert app.theme == "gruvbox" and app.query_one(LossPane).logarithmic
        assert "experiments · kept · kept first, then best first" in screen_text(app)
        (note,) = app._notifications
        words = "As you left it, the table shows: kept experiments, kept first, then best first. Escape shows all."
        assert " ".join(note.message.split()) == words
        await until(pilot, lambda: not table.following)  # the older experiments are in the table
        assert table.numbers == shown and table.selected == shown[0]
        await until(pilot, lambda: app.followed is not None and app.followed.number == shown[0])
        await pilot.press("escape")
        assert table.following and len(table.numbers) == len(app.bridge.state.experiments)
        await until(pilot, lambda: ViewMemory(path).view.filter == "all")
    assert ViewMemory(path).view == View(
        theme="gruvbox", theme_instead_of="nord", logarithmic=True, filter="all", sort="newest first"
    )


async def test_what_is_wrong_with_the_file_is_said_and_disturbs_nothing(recorded: Path, path: Path) -> None:
    write(path, '{"theme": "of another version", "sort": "by mood", "more": 1}')
    app = app_on(recorded, memory=ViewMemory(path))
    async with app.run_test(size=FULL, notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        assert app.theme == "textual-dark" and app.query_one(ExperimentsPane).following and not app._notifications
    write(path, "{")
    app = app_on(recorded, memory=ViewMemory(path))
    async with app.run_test(size=FULL, notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        (note,) = app._notifications
        assert "cannot be read" in note.message and app.query_one(ExperimentsPane).following


async def test_experiments_beyond_the_first_paint_are_in_a_remembered_order(
    recorded: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.pane_updates.FIRST_ROWS", 2)
    ViewMemory(path).save(sort="kept first, then best first")
    app = app_on(recorded, memory=ViewMemory(path))
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        table, kept = app.query_one(ExperimentsPane), app.bridge.state.kept
        await until(pilot, lambda: len(table.numbers) == len(app.bridge.state.experiments))
        assert table.numbers[0] in kept and table.selected == table.numbers[0]
        await until(pilot, lambda: app.followed is not None and app.followed.number == table.numbers[0])
