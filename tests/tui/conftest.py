"""The app on recorded and on living runs."""

from __future__ import annotations

import asyncio
import shutil
import stat
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.e2e.conftest import prepared, product  # noqa: F401
from tests.tui.living import Living
from tui.app import AutoResearch
from tui.system.remembered import ViewMemory

HERE = Path(__file__).resolve().parent


@pytest.fixture(autouse=True)
def many_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the pictures be those of a terminal with all colours, whatever the terminal of the tests is."""
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder of a real, finished run."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    shutil.copytree(HERE / "recorded", tmp_path / "logs")
    return tmp_path / "logs" / "nov23"


@pytest.fixture
async def living(recorded: Path) -> AsyncIterator[Living]:
    """#10 trains, #11 waits for an answer."""
    run = Living(recorded)
    await run.start()
    run.propose(10, "Halve the batch.")
    run.train(10)
    run.propose(11, "Another activation.")
    run.wait(11)
    yield run
    await run.close()


Edits = Callable[[str], None]


@pytest.fixture
def edits_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edits:
    """Make the editor a line of shell, to which "$1" is the file."""

    def by(line: str) -> None:
        program = tmp_path / "editor"
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("VISUAL", str(program))

    return by


@pytest.fixture
def editor(tmp_path: Path, edits_by: Edits) -> Path:
    """An editor that adds a line; the file says what it was called with."""
    called = tmp_path / "called"
    edits_by(f'echo "$1" >> {called}\necho "LR = 3" >> "$1"')
    return called


def app_on(folder: Path, program: Path | None = None, memory: ViewMemory | None = None) -> AutoResearch:
    return AutoResearch(folder, program or HERE / "recorded" / "program.md", opens_summary=False, memory=memory)


async def until(pilot: Pilot[str], condition: Callable[[], object], seconds: float = 100.0) -> None:
    """Wait for something to become true while the app runs on."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        await asyncio.sleep(0.02)
    await pilot.pause()


def screen_text(app: AutoResearch) -> str:
    """What stands on the screen, line by line."""
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())
