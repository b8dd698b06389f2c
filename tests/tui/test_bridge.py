"""The app and a journal that is missing, comes, grows, is torn or broken."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from core.record import journal
from core.run import commands
from tests.tui.conftest import app_on, screen_text, until
from tests.tui.living import Living
from tui.bridge import RECONNECT_S, Bridge
from tui.panes.experiments import ExperimentsPane

RECORDED = Path(__file__).parents[1] / "recorded"
FULL, WIDE = (120, 40), (200, 50)


class Missing:
    """The journal of the recorded run, put away until it is wanted."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / journal.NAME
        self._away = self._path.rename(folder / "away")

    def come(self) -> None:
        self._away.rename(self._path)


@pytest.fixture
def missing(recorded: Path) -> Missing:
    return Missing(recorded)


@pytest.mark.parametrize(("size", "panes"), [((120, 40), 7), ((80, 24), 2)])
async def test_it_waits_for_the_journal_and_then_shows_all(
    recorded: Path, missing: Missing, size: tuple[int, int], panes: int
) -> None:
    app = app_on(recorded)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "waiting for its journal" in screen_text(app))
        assert recorded.name in screen_text(app) and not any(pane.display for pane in app.query(".pane"))
        await pilot.press("5", "z", "j", "G", "slash", "escape", "question_mark", "escape", "8", "a", "p", "enter", "f")
        await pilot.press("z")
        await pilot.resize_terminal(60, 16)
        await pilot.resize_terminal(*size)
        missing.come()
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.pause()
        assert sum(pane.display for pane in app.query(".pane")) == panes
        assert app.focused is app.query_one(ExperimentsPane)
        assert "waiting for its journal" not in screen_text(app)
        assert "kept" in screen_text(app)


async def test_the_load_is_known_at_the_third_tick(recorded: Path) -> None:
    """The first tick reads the journal, and the second one begins to measure the load."""
    bridge = Bridge(recorded, recorded / "program.md", lambda news: None)
    for _ in range(3):
        await bridge._read_changes()
    assert bridge.machine.cpu_percent is not None
    before = bridge.machine
    await bridge._read_changes()
    assert bridge.machine is before, "later ones are two seconds apart"


async def test_who_types_when_the_journal_comes_types_on(recorded: Path, missing: Missing) -> None:
    app = app_on(recorded)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "waiting for its journal" in screen_text(app))
        await pilot.press("slash", "k", "e")
        missing.come()
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("e", "p", "enter")
        await pilot.pause()
        assert app.focused is app.query_one(ExperimentsPane) and "“keep”" in screen_text(app)


async def test_a_page_that_is_open_when_the_journal_comes_gives_way_to_the_experiments(
    recorded: Path, missing: Missing
) -> None:
    app = app_on(recorded)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "waiting for its journal" in screen_text(app))
        await pilot.press("question_mark")
        missing.come()
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("escape")
        await pilot.pause()
        assert [pane.id for pane in app.query(".pane") if pane.display] == ["experiments", "night"]
        assert app.focused is app.query_one(ExperimentsPane)


async def test_a_growing_and_a_torn_journal(recorded: Path) -> None:
    path = recorded / journal.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:30]) + lines[30][:20])
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        first = len(app.bridge.state.experiments)
        with path.open("ab") as file:
            file.write(lines[30][20:])
            file.flush()
            for line in lines[31:]:
                file.write(line)
        await until(pilot, lambda: len(app.bridge.state.experiments) > first and app.bridge.state.stopped is not None)
        table = app.query_one(ExperimentsPane)
        await until(pilot, lambda: table.numbers == sorted(app.bridge.state.experiments, reverse=True))


async def test_an_unreadable_line_is_said_and_nothing_breaks(recorded: Path) -> None:
    with (recorded / journal.NAME).open("ab") as file:
        file.write(b"nonsense\n")
    app = app_on(recorded)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        assert "is not a readable event" in app.bridge.trouble and "readable" in screen_text(app)


def move(folder: Path, name: str) -> Path:
    return folder.rename(folder.with_name(name))


def replace(folder: Path) -> None:
    """Put another run in the place of this one, with as much in its journal."""
    before = move(folder, "before")
    folder.mkdir()
    first, *rest = (before / journal.NAME).read_bytes().splitlines(keepends=True)
    other = first.replace(b'"seed":', b'"seed":1', 1)
    assert other != first
    (folder / journal.NAME).write_bytes(other + b"".join(rest))


async def test_another_run_under_the_same_name_gets_no_keys(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        shown = len(app.bridge.state.experiments)
        replace(recorded)
        other = Living(recorded)
        await other.start()
        other.propose(10, "Halve the batch.")
        other.wait(10)
        reply = await app.bridge.send(commands.Stop())
        assert not reply.ok and "its name belongs to another run now" in reply.words
        await until(pilot, lambda: "its name belongs to another run now" in screen_text(app))
        assert app.bridge.pid is None and app.bridge.waiting is None and len(app.bridge.state.experiments) == shown
        await pilot.press("8", "c", "c", "h", "escape", "y", "n")
        await asyncio.sleep(2 * RECONNECT_S)
        assert app.is_running and not other.heard and not other.attached_ever
        await pilot.press("q")
        await other.close()
    assert app.return_value is not None and "its name belongs to another run now" in app.return_value


@pytest.mark.parametrize("size", [FULL, (80, 24)])
async def test_a_run_that_was_deleted_is_said_to_be_gone(recorded: Path, size: tuple[int, int]) -> None:
    app = app_on(recorded)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        away = move(recorded, "away")
        await until(pilot, lambda: "Run nov23 is gone: it was deleted or moved" in " ".join(screen_text(app).split()))
        await pilot.press("8", "c", "c")
        await until(pilot, lambda: any("is gone" in note.message for note in app._notifications))
        assert app.is_running and not app.afterwards
        move(away, recorded.name)
        await until(pilot, lambda: not app.bridge.gone and not app.bridge.trouble)


async def test_a_run_that_has_only_begun(recorded: Path) -> None:
    path = recorded / journal.NAME
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        assert "No proposal yet" in screen_text(app) and "loop ended unexpectedly" in screen_text(app)


async def test_the_activity_says_what_was_known_at_the_time(tmp_path: Path) -> None:
    folder = tmp_path / "human"
    shutil.copytree(RECORDED / "human", folder)
    app = app_on(folder)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: "finished" in screen_text(app))
        await pilot.press("7", "z")
        await until(pilot, lambda: "#10 KEPT" in screen_text(app))
        lines = [
            line for line in screen_text(app).splitlines() if "#10 KEPT" in line or "#10 discarded, by you" in line
        ]
        assert ["#10 KEPT 1." in lines[0], "#10 discarded, by you" in lines[1]] == [True, True] and len(lines) == 2


async def test_an_activity_that_does_not_follow_says_so(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: "finished" in screen_text(app))
        await pilot.press("7", "k")
        await until(pilot, lambda: "G follows the newest line" in screen_text(app))
        await pilot.press("G")
        await until(pilot, lambda: "G follows the newest line" not in screen_text(app))
