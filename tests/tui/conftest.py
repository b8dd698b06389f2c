"""The app on recorded and on living runs."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.e2e.conftest import prepared, product  # noqa: F401
from tui.app import AutoResearch

HERE = Path(__file__).resolve().parent


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder of a real, finished run."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    shutil.copytree(HERE / "recorded", tmp_path / "logs")
    return tmp_path / "logs" / "nov23"


def app_on(folder: Path, program: Path | None = None) -> AutoResearch:
    return AutoResearch(folder, program or HERE / "recorded" / "program.md")


async def until(pilot: Pilot[str], condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something to become true while the app runs on."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        await asyncio.sleep(0.02)
    await pilot.pause()


def screen_text(app: AutoResearch) -> str:
    """What stands on the screen, line by line."""
    return "\n".join("".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips())
