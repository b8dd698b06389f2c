"""Pictures of the screens in several sizes and colours, compared with those that somebody has looked at."""

from __future__ import annotations

import os
import shutil
import time
from itertools import product
from pathlib import Path

import pytest
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter
from textual.pilot import Pilot

from core.machine.stats import Gpu, Machine
from core.record import journal
from tests.tui.conftest import HERE, app_on, screen_text, until
from tests.tui.living import Living
from tui.panes.machine import MachinePane

FULL = (120, 40)


class In256Colours(LineFilter):
    """Draws the screen in the colours that a terminal of 256 colours has."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        return [Segment(text, style and self._reduced(style)) for text, style, _ in segments]

    def _reduced(self, style: Style) -> Style:
        colour, ground = (one and one.downgrade(ColorSystem.EIGHT_BIT) for one in (style.color, style.bgcolor))
        return style + Style(color=colour, bgcolor=ground)


SNAPSHOTS = [
    *product([(80, 24), (120, 40), (200, 50)], ["dark", "light", "no-colour"]),
    *product([(60, 16), (100, 40), (120, 36), (140, 34), (160, 30)], ["dark"]),
    ((140, 34), "light"),
    *product([(120, 40)], ["256-colours", "256-colours-light"]),
]


@pytest.mark.parametrize(("size", "look"), SNAPSHOTS, ids=[f"{size[0]}x{size[1]}-{look}" for size, look in SNAPSHOTS])
def test_snapshots(
    recorded: Path, snap_compare, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], look: str
) -> None:  # type: ignore[no-untyped-def]
    if look == "no-colour":
        monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("tui.bridge.SLOW_S", 1e9)  # the machine's figures are not the same twice
    app = app_on(recorded)
    app.bridge._slow_t = -2e9  # but program.md is read once
    if look.endswith("light"):
        app.theme = "textual-light"
    if look.startswith("256-colours"):
        app.console._color_system = ColorSystem.EIGHT_BIT
        app._filters.append(In256Colours())

    async def ready(pilot: Pilot[str]) -> None:
        await until(pilot, lambda: app.bridge.loaded)
        app.query_one(MachinePane).show(
            Machine(12.0, (10.0, 14.0), 9 << 30, 64 << 30, (Gpu("H", 80 << 30, 40 << 30, 98, 71, 344.0, 1980),))
        )
        await pilot.press("j")
        await until(pilot, lambda: app.followed is not None and app.drawn_number == app.followed.number)
        await pilot.pause(0.5)

    assert snap_compare(app, terminal_size=size, run_before=ready)


@pytest.mark.parametrize(
    "keys_pressed",
    [("j", "enter"), ("question_mark",), ("8",), ("G", "c", "g", "j", "c")],
    ids=["detail", "help", "summary", "comparison"],
)
def test_snapshots_of_other_screens(
    recorded: Path, snap_compare, monkeypatch: pytest.MonkeyPatch, keys_pressed: tuple[str, ...]
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("tui.bridge.SLOW_S", 1e9)
    app = app_on(recorded)

    async def ready(pilot: Pilot[str]) -> None:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press(*keys_pressed)
        await until(pilot, lambda: app.followed is not None and app.drawn_number == app.followed.number)
        await pilot.pause(0.5)

    assert snap_compare(app, terminal_size=FULL, run_before=ready)


@pytest.mark.parametrize(
    ("size", "keys_pressed"),
    [((80, 24), ("8",)), ((120, 36), ("G", "v", "g")), ((40, 10), ()), ((50, 12), ()), ((50, 12), ("enter",))],
    ids=["summary", "curves", "tiny", "tiny-50x12", "tiny-details"],
)
def test_snapshots_of_sizes_of_their_own(
    recorded: Path, snap_compare, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], keys_pressed: tuple[str, ...]
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("tui.bridge.SLOW_S", 1e9)
    app = app_on(recorded)

    async def ready(pilot: Pilot[str]) -> None:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press(*keys_pressed)
        await pilot.pause(0.5)
        app.clear_notifications()
        await pilot.pause()

    assert snap_compare(app, terminal_size=size, run_before=ready)


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 50)])
@pytest.mark.parametrize("keys_pressed", [("R",), ("R", "c")], ids=["runs", "two-runs"])
def test_snapshots_of_several_runs(
    recorded: Path, snap_compare, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], keys_pressed: tuple[str, ...]
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("tui.bridge.SLOW_S", 1e9)
    found = recorded.parent / "found"
    found.mkdir()
    shutil.copyfile(HERE.parent / "recorded" / "found" / journal.NAME, found / journal.NAME)
    app = app_on(recorded)

    async def ready(pilot: Pilot[str]) -> None:
        await until(pilot, lambda: app.bridge.loaded)
        for key, words in zip(keys_pressed, ("5 of 30", "kept"), strict=False):
            await pilot.press(key)
            await until(pilot, lambda words=words: words in screen_text(app))
        await pilot.pause(0.5)

    assert snap_compare(app, terminal_size=size, run_before=ready)


@pytest.mark.parametrize("size", [(58, 14), (60, 16), (80, 24)])
def test_snapshots_of_a_proposal_that_waits(
    recorded: Path, snap_compare, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("tui.bridge.SLOW_S", 1e9)
    run = Living(recorded)
    run.record("started", t=time.time() - 3600, pid=os.getpid(), agent="search", gate="ask", slots=2)
    run.propose(10, "Halve the batch: twice the steps in the same time should pay at this depth.")
    run.wait(10)
    app = app_on(recorded)

    async def ready(pilot: Pilot[str]) -> None:
        await until(pilot, lambda: app.key_context.waiting and "#10" in screen_text(app))
        await pilot.pause(0.5)

    try:
        assert snap_compare(app, terminal_size=size, run_before=ready)
    finally:
        run._lock.release()
