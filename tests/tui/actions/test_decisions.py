"""Keys on a run that lives: what each says to the loop, in every phase, and what the screen says meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.command import CommandList

from core.run import commands
from core.verdicts import Verdict
from tests.tui.conftest import app_on, screen_text, until
from tests.tui.living import Living
from tui.app import AutoResearch
from tui.panes.experiments import ExperimentsPane
from tui.screens.detail import DetailScreen
from tui.screens.menu import Menu
from tui.widgets.lazy_table import LINE
from tui.widgets.prompt import Prompt

SIZES = [(80, 24), (120, 36), (200, 50)]


async def test_keys_for_the_selected_one_work_right_after_moving_to_it(
    living: Living, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.app.REST_S", 3600.0)
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("j", "j", "o")
        await until(pilot, lambda: isinstance(app.screen, Menu))


@pytest.mark.parametrize("length", range(70, 90))
async def test_no_note_loses_its_end(living: Living, length: int) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        app.show_note(f"It is in /{'x' * (length - 15)}.end")
        await until(pilot, lambda: ".end" in screen_text(app))


async def test_a_key_that_makes_no_sense_is_answered(living: Living) -> None:
    living.show(waiting=None)
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded and not app.key_context.waiting)
        await pilot.press("a")
        await until(pilot, lambda: "Nothing waits for your answer" in screen_text(app))
        assert not living.heard


async def test_skip_with_a_reason_holds_the_clock_meanwhile(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("S")
        await until(pilot, lambda: app.query_one(Prompt).display)
        await pilot.press(*"no more", "enter")
        await until(pilot, lambda: living.told(commands.Skip))
        assert living.told(commands.Skip)[0].reason == "no more"
        hold = living.told(commands.Hold)[0]
        assert hold.on and hold.who == app.bridge.who
        await pilot.press("S")
        await until(pilot, lambda: app.query_one(Prompt).display)
        await pilot.press("escape")
        await until(pilot, lambda: not living.told(commands.Hold)[-1].on)
        assert len(living.told(commands.Skip)) == 1
    await until_gone(living, app.bridge.who)


async def until_gone(living: Living, who: str) -> None:
    import asyncio

    for _ in range(200):
        if who in living.gone:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the loop was not told that the app is gone")


@pytest.mark.parametrize(
    ("key", "kind", "field"), [("u", commands.SetApproval, "mode"), ("x", commands.Abort, "number")]
)
async def test_what_lies_near_other_keys_is_pressed_twice(
    living: Living, key: str, kind: type[commands.Data], field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.actions.base.TWICE_S", 60.0)
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.running)
        await pilot.press(key)
        await until(pilot, lambda: f"{key} again" in screen_text(app))
        assert not living.heard
        await pilot.press(key)
        await until(pilot, lambda: living.told(kind))
        assert getattr(living.told(kind)[0], field) == {"mode": "auto", "number": 10}[field]


async def test_pause_and_go_on_by_one_key(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("p")
        await until(pilot, lambda: living.told(commands.Pause))
        living.record("paused")
        await until(pilot, lambda: "p resume" in screen_text(app) and "pausing after" in screen_text(app))
        await pilot.press("p")
        await until(pilot, lambda: living.told(commands.Resume))


async def test_tell_and_stop(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("t", *"go wide", "enter")
        await until(pilot, lambda: living.told(commands.Tell))
        assert living.told(commands.Tell)[0].text == "go wide"
        await pilot.press("Q")
        await until(pilot, lambda: isinstance(app.screen, Menu))
        await pilot.press("n")
        assert not living.told(commands.Stop)
        await pilot.press("Q", "y")
        await until(pilot, lambda: living.told(commands.Stop))
        assert not living.told(commands.Stop)[0].now


@pytest.mark.parametrize(("key", "kind"), [("t", commands.Tell), ("S", commands.Skip)])
async def test_a_text_that_the_loop_does_not_take_is_shown_and_opened_again(
    living: Living, key: str, kind: type[commands.Data]
) -> None:
    living.refuses = "Not now."
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press(key, *"go wide", "enter")
        await until(pilot, lambda: "Not now. Your text was: go wide" in screen_text(app))
        living.refuses = ""
        await pilot.press(key)
        await until(pilot, lambda: app.query_one(Prompt).display)
        await pilot.press("enter")
        await until(pilot, lambda: len(living.told(kind)) == 2)
        assert {getattr(one, "text", "") or getattr(one, "reason", "") for one in living.told(kind)} == {"go wide"}
        await until(pilot, lambda: not app.unsent)


async def test_a_text_outlives_the_loop(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("t", *"go wide")
        await living.close()
        await pilot.press("enter")
        await until(pilot, lambda: "No loop is running" in screen_text(app) and "go wide" in screen_text(app))
        assert app.unsent == {"t": "go wide"}


async def test_hints_are_listed_and_taken_back(living: Living) -> None:
    living.record("hint", text="try [bold]WIDTH")
    living.record("hint", text="avoid heads")
    living.record("takenback", number=2)
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[0], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.has_hints)
        await pilot.press("T")
        await until(pilot, lambda: isinstance(app.screen, Menu))
        assert "try [bold]WIDTH" in screen_text(app) and "avoid heads" not in screen_text(app)
        await pilot.press("1")
        await until(pilot, lambda: "yes, take it back" in screen_text(app))
        await pilot.press("n")
        await pilot.press("T", "1")
        await until(pilot, lambda: "yes, take it back" in screen_text(app))
        await pilot.press("y")
        await until(pilot, lambda: living.told(commands.TakeBack))
        assert [command.number for command in living.told(commands.TakeBack)] == [1]


@pytest.mark.parametrize("size", SIZES[:2])
async def test_a_proposed_limit_is_shown_with_its_sentence_and_adopted(
    living: Living, tmp_path: Path, size: tuple[int, int]
) -> None:
    program = tmp_path / "program.md"
    program.write_text("# Aim\n\nLow val_bpb. At most 60M parameters.\n")
    living.record(
        "charter", sha="s", warnings=["off_limits width, which train.py does not define (did you mean WIDTH?)"],
        proposed=[["max_params: 60000000", "At most 60M parameters."]],
    )  # fmt: skip
    app = app_on(living.folder, program)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.has_proposed_limits)
        await pilot.press("1")
        await until(pilot, lambda: "did you mean WIDTH?" in " ".join(screen_text(app).split()))
        await pilot.press("P")
        await until(pilot, lambda: isinstance(app.screen, Menu))
        assert "1  max_params: 60000000" in screen_text(app) and "from “At most 60M parameters.”" in screen_text(app)
        await until(pilot, lambda: living.told(commands.Hold) and living.told(commands.Hold)[-1].on)
        await pilot.press("escape")
        await until(pilot, lambda: not living.told(commands.Hold)[-1].on)
        assert program.read_text().startswith("# Aim")
        await pilot.press("P", "1")
        await until(pilot, lambda: program.read_text().startswith("---\nmax_params: 60000000\n---\n\n# Aim"))
        await until(pilot, lambda: "Added to the front matter" in screen_text(app))
        await pilot.press("P")
        await until(pilot, lambda: "suggests no limit" in screen_text(app))


async def test_rerun_overrule_and_copy_mean_the_selected_one(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    app = app_on(living.folder)
    async with app.run_test(size=(200, 50), notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("G", "r")
        await until(pilot, lambda: living.told(commands.Rerun))
        assert living.told(commands.Rerun)[0].number == 1
        await pilot.press("o", "d")
        await until(pilot, lambda: living.told(commands.Overrule))
        assert (living.told(commands.Overrule)[0].number, living.told(commands.Overrule)[0].verdict) == (
            1,
            Verdict.DISCARD,
        )
        await pilot.press("y")
        await until(pilot, lambda: "00001/change.diff" in screen_text(app))
        assert "LR" in app.clipboard


async def test_only_verdicts_that_would_change_something_are_offered(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        for number, absent in ((app.bridge.state.kept[-1], "yes, keep it"), (_discarded(app), "discard it")):
            table = app.query_one(ExperimentsPane)
            table.move_cursor(row=table.get_row_index(str(number)))
            await until(pilot, lambda number=number: app.followed is not None and app.followed.number == number)
            await pilot.press("o")
            await until(pilot, lambda: isinstance(app.screen, Menu))
            assert absent not in screen_text(app) and "it is invalid" in screen_text(app)
            await pilot.press("escape")


def _discarded(app: AutoResearch) -> int:
    return next(n for n, e in app.bridge.state.experiments.items() if e.verdict is Verdict.DISCARD)


async def test_in_the_details_keys_mean_the_one_that_is_shown(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("G", "enter", "right_square_bracket")
        assert isinstance(app.screen, DetailScreen) and app.screen.number == 2
        await until(pilot, lambda: app.key_context.detail)
        await pilot.press("r")
        await until(pilot, lambda: living.told(commands.Rerun))
        assert living.told(commands.Rerun)[0].number == 2
        await pilot.press("o", "y")
        await until(pilot, lambda: living.told(commands.Overrule))
        assert living.told(commands.Overrule)[0].number == 2
        await pilot.press("a", "s", "z", "x", "u", "E", "e", "1", "S", *"too slow", "slash", "enter")
        assert (isinstance(app.screen, DetailScreen) and "git show" in screen_text(app)) or "conflict" in screen_text(
            app
        )
        assert not living.told(commands.Approve) and not living.told(commands.Skip)
        await pilot.press("t")
        await until(pilot, lambda: app.screen.query_one(Prompt).display)
        await pilot.press(*"quit", "enter")
        await until(pilot, lambda: living.told(commands.Tell))
        assert living.told(commands.Tell)[0].text == "quit" and isinstance(app.screen, DetailScreen)
        await pilot.press("q")
        assert not isinstance(app.screen, DetailScreen) and app.is_running


async def test_two_slots_a_confirmation_and_the_trainers_words(living: Living) -> None:
    living.propose(12, "A second one.")
    living.train(12, role="confirm", slot=1, progress=0.25)
    living.show(waiting=None)
    app = app_on(living.folder)
    async with app.run_test(size=(200, 50), notifications=True) as pilot:
        await until(pilot, lambda: "#12 confirming" in screen_text(app))
        shown = screen_text(app)
        assert "25%" in shown and "the trainer says: a word from train.py" in shown and "17k tok/s" in shown
        table = app.query_one(ExperimentsPane)
        table.select(10)
        await until(pilot, lambda: "3 loss · #10" in screen_text(app))


async def test_keys_for_the_loop_are_answered_where_there_is_none(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("p")
        await until(pilot, lambda: "This key needs a running loop" in screen_text(app))


async def test_in_a_tiny_terminal_few_keys_work_and_the_others_say_so(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=(59, 16), notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded and app.key_context.tiny)
        for key in ("e", "u", "R", "8"):
            app.clear_notifications()
            await pilot.press(key)
            await until(pilot, lambda: "needs a larger terminal" in screen_text(app))
            assert len(app.screen_stack) == 1 and not living.heard
        await pilot.press("q")
    assert "keeps running" in (app.return_value or "")


async def test_one_note_at_a_time_however_quickly_they_come(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        for number in range(5):
            app.show_note(f"note {number}")
        await until(pilot, lambda: [note.message for note in app._notifications] == ["note 4"])


async def test_a_picture_of_the_screen_lies_in_the_runs_folder(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("colon", *"screenshot")
        await until(pilot, lambda: app.screen.query_one(CommandList).option_count == 1)
        await pilot.press("enter", "enter")
        await until(pilot, lambda: list(living.folder.glob("screen-*.svg")))
        await until(pilot, lambda: any("screen-" in note.message for note in app._notifications))


async def test_a_theme_repaints_the_table(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        table = app.query_one(ExperimentsPane)
        before = str(table.get_cell("8", LINE).spans)
        app.theme = "gruvbox"
        await until(pilot, lambda: str(table.get_cell("8", LINE).spans) != before)


async def test_following_again_shows_the_newest_on_top_whatever_the_order(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("greater_than_sign", "j", "g")
        table = app.query_one(ExperimentsPane)
        assert app.followed is not None and app.followed.number == table.selected
        await pilot.press("escape", "g")
        assert table.selected == 11 and app.followed.number == 11


async def test_the_best_that_runs_again_is_not_called_by_the_number_it_runs_for(living: Living) -> None:
    living.show(waiting=None, slots=[])
    living.record("launched", job="j000999", role="best", commit="c", seed=2, slot=1, number=11)
    slot = {
        "slot": 1,
        "number": 11,
        "role": "best",
        "job": "j000999",
        "phase": "training",
        "progress": 0.5,
        "loss": 3.0,
    }
    living.show(slots=[slot])
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: "best training again" in screen_text(app))
