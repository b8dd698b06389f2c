"""The app on a recorded run, a broken one, a growing one: every key, every size, nothing garbled."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from core.machine.stats import Gpu, Machine
from core.record import journal
from tests.tui.conftest import HERE, app_on, screen_text, until
from tests.tui.living import Living
from tui.panes.experiments import ExperimentsPane
from tui.panes.machine import MachinePane
from tui.panes.status import StatusLine
from tui.screens.detail import DetailScreen
from tui.view.table import FILTERS
from tui.widgets.diff_text import DiffText
from tui.widgets.night_plot import NightPlot

FULL = (120, 40)
SMALL = (80, 24)
WIDE = (200, 50)


@pytest.mark.parametrize("size", [FULL, SMALL, WIDE])
async def test_a_recorded_run_is_shown(recorded: Path, size: tuple[int, int]) -> None:
    app = app_on(recorded)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.pause()
        shown = screen_text(app)
        for words in ("nov23", "inconclusive", "non-finite", "kept", "finished: the agent has"):
            assert words in shown, shown
        assert "Markup [bold]" in shown and "\x1b" not in shown


async def test_every_pane_is_there_at_once_on_a_large_screen(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.pause()
        for pane in app.query(".pane"):
            assert pane.region.area > 0 and app.screen.region.contains_region(pane.region), pane


async def test_digits_choose_the_pane_of_a_small_screen(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        for digit, name in zip(
            "1234567", ("program", "change", "loss", "machine", "experiments", "night", "activity"), strict=True
        ):
            await pilot.press(digit)
            visible = [pane.id for pane in app.query(".pane") if pane.display]
            shown = ["experiments", "night"] if name == "experiments" else [name]  # a short table leaves room
            assert visible == shown and app.focused is not None and app.focused.id == name


async def test_zoom_and_back(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("6", "z")
        assert [pane.id for pane in app.query(".pane") if pane.display] == ["night"]
        await pilot.press("escape")
        assert all(pane.display for pane in app.query(".pane"))


@pytest.mark.parametrize("size", [FULL, (137, 47), (120, 26), (96, 26), (72, 32), (60, 16)])
async def test_a_zoomed_pane_covers_the_others(recorded: Path, size: tuple[int, int]) -> None:
    app = app_on(recorded)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        for digit in "1234567":
            await pilot.press(digit, "z")
            await pilot.pause()
            shown = [pane for pane in app.query(".pane") if pane.display]
            assert [pane.NUMBER for pane in shown] == [int(digit)] and shown[0].region == app.query_one("#panes").region
            await pilot.press("z")


async def test_a_zoom_draws_the_other_panes_only_once(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded and app.focused is not None)
        await pilot.press("6")
        await pilot.pause()
        night = app.query_one(NightPlot)
        before, diff = night.render(), app.query_one(DiffText).visual
        await pilot.press("z")
        await until(pilot, lambda: night.render() is not before)
        await pilot.press("z")
        await until(pilot, lambda: night.render() is before)
        assert app.query_one(DiffText).visual is diff


async def test_too_small_a_terminal_is_told_politely(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=(59, 16)) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        assert "panes from 60x16" in screen_text(app)
        await pilot.resize_terminal(*FULL)
        await pilot.pause()
        assert "experiments" in screen_text(app)


async def test_moving_selects_and_the_other_panes_follow(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        newest = max(app.bridge.state.experiments)
        assert app.followed is not None and app.followed.number == newest
        await pilot.press("j", "j")
        assert app.followed.number == newest - 2
        await until(pilot, lambda: f"2 change · #{newest - 2}" in screen_text(app))
        await pilot.press("g")
        assert app.followed.number == newest and app.query_one(ExperimentsPane).following


async def test_program_md_is_text_whatever_is_in_it(recorded: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.md"
    program.write_text(
        "# Aim\n\nSet <WIDTH>, \x1b[31mred\x1b]0;title\x07 and `code`.\n\n```\nx = 1\n```\n\n<div>seen</div>\n"
    )
    app = app_on(recorded, program)
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: "x = 1" in screen_text(app))
        shown = screen_text(app)
        assert "<WIDTH>" in shown and "<div>seen</div>" in shown and "\x1b" not in shown and "\x07" not in shown
        styles = {
            segment.style.bgcolor.name
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if "x = 1" in segment.text and segment.style and segment.style.bgcolor
        }
        assert not styles & {"#ffffff", "#000000"}, "code stands on the theme's background"


async def test_sort_filter_and_search(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        table = app.query_one(ExperimentsPane)
        every = len(app.bridge.state.experiments)
        await pilot.press("greater_than_sign")
        scored = [e for e in app.bridge.state.experiments.values() if e.val_bpb is not None]
        assert table.numbers[0] == min(scored, key=lambda e: e.val_bpb or 0).number
        await pilot.press("f")
        assert sorted(table.numbers) == app.bridge.state.kept
        await pilot.press(*["f"] * (len(FILTERS) - 1))
        assert len(table.numbers) == every
        await pilot.press("slash", *"zero", "enter")
        assert 0 < len(table.numbers) < every and "“zero”" in screen_text(app)
        await pilot.press("slash", "enter")
        assert len(table.numbers) == every


async def test_enter_opens_the_row_that_a_filter_leaves(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("f", "enter")
        assert isinstance(app.screen, DetailScreen) and app.screen.number == 8, "the latest that was kept"


async def test_log_scale(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("G")
        before = screen_text(app)
        await pilot.press("L")
        await until(pilot, lambda: screen_text(app) != before and "loss (log)" in screen_text(app))


@pytest.mark.parametrize("key", ["q", "ctrl+q", "ctrl+c"])
async def test_detaching_says_how_to_come_back(recorded: Path, key: str) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press(key)
    assert app.return_value is not None and "make run" in app.return_value


@pytest.mark.parametrize(
    ("size", "keys_pressed", "note"), [((120, 26), ["G"], "1 new, g shows it"), (FULL, ["j", "j"], "")]
)
async def test_scrolling_away_stops_following_and_counts_what_is_new_and_out_of_sight(
    recorded: Path, size: tuple[int, int], keys_pressed: list[str], note: str
) -> None:
    path = recorded / journal.NAME
    lines = path.read_bytes().splitlines(keepends=True)
    cut = max(i for i, line in enumerate(lines) if b'"proposed"' in line)
    path.write_bytes(b"".join(lines[:cut]))
    app = app_on(recorded)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press(*keys_pressed)
        chosen = app.followed
        with path.open("ab") as file:
            file.write(b"".join(lines[cut:]))
        await until(pilot, lambda: app.bridge.state.stopped is not None and note in screen_text(app))
        assert app.followed is chosen and bool(note) is ("1 new" in screen_text(app))
        await pilot.press("g")
        assert "new" not in str(app.query_one(ExperimentsPane).border_subtitle)


async def test_a_loop_that_died_is_unmistakable(recorded: Path) -> None:
    path = recorded / journal.NAME
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        assert "loop ended unexpectedly" in screen_text(app)


async def test_what_a_dead_loop_left_is_not_called_running(recorded: Path) -> None:
    run = Living(recorded)
    run.record("started", pid=os.getpid(), agent="search", gate="auto", slots=1)
    run.propose(10, "Halve the batch.")
    run.train(10)
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: "running" in screen_text(app))
        await run.close()
        await until(pilot, lambda: "loop ended unexpectedly" in screen_text(app) and "was running" in screen_text(app))
        await pilot.press("j", "k", "enter")
        await until(pilot, lambda: "was running" in screen_text(app))


def spoil(folder: Path) -> None:
    for path in folder.glob("*/*/metrics.jsonl"):
        path.write_text(
            '{"step": 1, "progress": 0.1, "loss": NaN}\n{"step": 2, "progress": Infinity, "loss": 1e999}\nx\n'
        )


async def test_metrics_that_are_no_numbers(recorded: Path) -> None:
    spoil(recorded)
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("j", "enter", "escape", "L")
        await until(pilot, lambda: "3 loss (log) · #8 –" in screen_text(app))
        shown = screen_text(app)
        assert "nan" not in shown.lower() and "inf" not in shown.split("nov23")[1].lower()


async def test_machines_without_a_driver_and_with_half_of_one(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.bridge.SLOW_S", 1e9)  # this machine's own figures do not come
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        pane = app.query_one(MachinePane)
        pane.show(Machine())
        await pilot.pause()
        assert "4 machine" in screen_text(app) and "cpu n/a" in screen_text(app)
        pane.show(
            Machine(
                12.0,
                (10.0, 14.0),
                9 << 30,
                64 << 30,
                (Gpu("H", throttled="heat", others=3 << 30), Gpu("H", 80 << 30, 40 << 30, 98, 71, 344.0, 1980)),
            )
        )
        await pilot.pause()
        shown = screen_text(app)
        assert "n/a" in shown and "throttled: heat" in shown and "used by others" in shown


async def test_a_hypothesis_of_ten_thousand_characters(recorded: Path) -> None:
    path = recorded / journal.NAME
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["type"] == "proposed":
            line["hypothesis"] = "[red]" + "wörter und \u202e mehr " * 600
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for size in (FULL, SMALL):
        app = app_on(recorded)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda app=app: app.bridge.loaded)
            await pilot.pause()
            shown = screen_text(app)
            assert "\u202e" not in shown and "[red]wörter" in shown
            assert app.query_one(StatusLine).region.height <= 2 and (size != FULL or "LR = " in shown)


async def test_ten_thousand_experiments_scroll(recorded: Path) -> None:
    path = recorded / journal.NAME
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    proposed = next(line for line in lines if line["type"] == "proposed")
    judged = next(line for line in lines if line["type"] == "judged" and line["verdict"] == "discard")
    with path.open("a") as file:
        for number in range(100, 10_000):
            file.write(json.dumps(proposed | {"number": number, "fingerprint": str(number)}) + "\n")
            file.write(json.dumps(judged | {"number": number}) + "\n")
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("pagedown", "pagedown")
        table = app.query_one(ExperimentsPane)
        assert table.numbers[0] == 9999 and len(table.numbers) == len(app.bridge.state.experiments)
        assert table.row_count < 1000, "only what somebody looks at is put into the table"
        await pilot.press("G")
        await until(pilot, lambda: table.row_count == len(app.bridge.state.experiments))
        assert app.followed is not None and app.followed.number == 1


def test_the_recorded_run_says_nothing_of_the_machine_it_was_made_on() -> None:
    assert "pytest-of" not in (HERE / "recorded" / "nov23" / journal.NAME).read_text()


async def test_the_tabs_fit_after_the_terminal_was_resized(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=(72, 32)) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        for width, height in ((60, 20), (79, 24), (78, 24), (100, 30), (60, 16)):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            tabs = next(line for line in screen_text(app).splitlines() if " 5 experiments " in line and " 1" in line)
            assert "7" in tabs and (width < 79 or "6 progress" in tabs), (width, tabs)
            assert ("7 activity" in tabs) is (width >= 79)
