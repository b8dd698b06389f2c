"""What the summary offers by key when a run has ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.widgets import Static

from core.record import journal
from core.record.fold import fold
from core.reporting.results import HTML
from tests.tui.actions.test_editing import NoSuspend, said
from tests.tui.conftest import HERE, screen_text, until
from tests.tui.living import Living
from tui.app import AutoResearch
from tui.screens.summary import SummaryScreen
from tui.view.next_steps import next_steps

PROGRAM = HERE / "recorded" / "program.md"
ROOT = HERE.parents[1]


@pytest.fixture
def no_input(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody presses enter after a command."""
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "__stdin__", nothing)
        yield


@pytest.mark.parametrize("size", [(200, 50), (120, 36), (80, 24)])
async def test_the_keys_stand_in_one_line_and_can_be_clicked(recorded: Path, size: tuple[int, int]) -> None:
    app = AutoResearch(recorded, PROGRAM)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: isinstance(app.screen, SummaryScreen))
        await pilot.pause(0.1)
        last = screen_text(app).splitlines()[-1]
        assert last.strip() == "a apply  h report  e export  c continue  R runs  escape panes  q close  ? help"
        keys = app.screen.query_one("#page-keys", Static)
        await pilot.click(keys, offset=(last.index("a apply"), 0))
        await said(app, pilot, "a again commits the best train.py to your branch.")
        await pilot.click(keys, offset=(last.index("escape"), 0))
        await until(pilot, lambda: app.screen is app.main)


async def test_continue_closes_the_app_for_the_command_that_resumes_the_run(recorded: Path) -> None:
    app = AutoResearch(recorded, PROGRAM)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: isinstance(app.screen, SummaryScreen))
        await pilot.press("c")
        await said(app, pilot, "c again resumes the run; it goes on until you stop it.")
        assert not app.afterwards
        await pilot.press("c")
    assert app.afterwards[-6:] == ("core.cli", "run", "--name", "nov23", "--logs", str(recorded.parent))


async def test_the_report_is_opened_where_it_is(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    (recorded / HTML).write_text("<p>found")
    app = AutoResearch(recorded, PROGRAM)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: isinstance(app.screen, SummaryScreen))
        await pilot.press("h")
        await said(app, pilot, "The report is ")


async def test_a_missing_report_is_written_by_the_command(
    recorded: Path, no_input: None, capfd: pytest.CaptureFixture[str]
) -> None:
    app = AutoResearch(recorded, PROGRAM)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: isinstance(app.screen, SummaryScreen))
        app.suspend = NoSuspend  # type: ignore[method-assign,assignment]
        await pilot.press("h")
        await said(app, pilot, "The report is ")
    assert "$ make report ARGS='nov23 --html'" in capfd.readouterr().out
    assert (recorded / HTML).exists()


async def test_a_report_from_before_the_end_is_written_again(
    recorded: Path, no_input: None, capfd: pytest.CaptureFixture[str]
) -> None:
    report = recorded / HTML
    report.write_text("<p>earlier")
    ended = fold(journal.read(recorded / journal.NAME)).last_t
    os.utime(report, (ended - 60, ended - 60))
    app = AutoResearch(recorded, PROGRAM, read_only=True)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: isinstance(app.screen, SummaryScreen))
        await pilot.press("h")
        await said(
            app, pilot, f"It is from {time.strftime('%H:%M', time.localtime(ended - 60))}, before the run ended."
        )
        await said(app, pilot, "`make report ARGS='--html nov23'` writes it again.")
    assert report.read_text() == "<p>earlier", "a read-only app writes nothing"
    app = AutoResearch(recorded, PROGRAM)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: isinstance(app.screen, SummaryScreen))
        app.suspend = NoSuspend  # type: ignore[method-assign,assignment]
        await pilot.press("h")
        await said(app, pilot, "The report is ")
        assert not any("It is from" in note.message for note in app._notifications)
    assert "$ make report ARGS='nov23 --html'" in capfd.readouterr().out
    assert report.read_text() != "<p>earlier"


async def test_a_report_of_a_run_that_goes_on_is_dated(living: Living) -> None:
    report = living.folder / HTML
    report.write_text("<p>earlier")
    began = fold(journal.read(living.folder / journal.NAME)).started
    assert began is not None
    os.utime(report, (began.t - 1, began.t - 1))
    app = AutoResearch(living.folder, PROGRAM, read_only=True)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("8")
        await until(pilot, lambda: isinstance(app.screen, SummaryScreen))
        await pilot.press("h")
        await said(app, pilot, ", before the run was resumed.")
        living.record("stopped", reason="stop requested")
        await until(pilot, lambda: app.bridge.state.stopped is not None)
        await pilot.press("h")
        await said(app, pilot, "The loop writes the report now.")
        report.write_text("<p>whole")
        await pilot.press("h")
        await said(app, pilot, "The report is ")
        assert not any("It is from" in note.message for note in app._notifications)


async def test_a_loop_at_work_is_not_disturbed(living: Living) -> None:
    """There `a` approves a proposal, so it must not do another thing here."""
    app = AutoResearch(living.folder, PROGRAM)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("8")
        await until(pilot, lambda: isinstance(app.screen, SummaryScreen))
        assert screen_text(app).splitlines()[-1].strip() == "h report  R runs  escape panes  q close  ? help"
        await pilot.press("a", "a", "c", "c", "e", "e")
        await pilot.pause()
        assert isinstance(app.screen, SummaryScreen) and not app.afterwards
        (note,) = app._notifications
        assert "A loop works on this run" in note.message


def test_what_cannot_be_done_is_not_offered() -> None:
    def offered(**changed: bool) -> str:
        usual = {"alive": False, "kept": True, "computed": False, "may_act": True}
        return "".join(step.key for step in next_steps(**{**usual, **changed}) if len(step.key) == 1)

    assert offered() == "ahecRq?" and offered(kept=False) == "hcRq?"
    assert offered(computed=True) == "ahcRq?" and offered(may_act=False) == "hRq?"
    assert offered(may_act=False, browser=True) == "hq?"


def test_a_command_leaves_its_output_until_enter() -> None:
    program = (
        "import sys; from pathlib import Path; from tui.system.foreground import run_and_wait; "
        "print('code', run_and_wait([sys.executable, '-c', 'print(1 + 1); raise SystemExit(3)'], Path('.'), 'make sum'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input="x\n", capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.stdout.splitlines() == ["$ make sum", "2", "", "enter goes back to the app code 3"], done.stderr
