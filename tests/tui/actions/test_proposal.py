"""Answers to the proposal that waits, and what is needed to give one."""

from __future__ import annotations

import pytest

from core.run import commands
from tests.tui.conftest import app_on, screen_text, until
from tests.tui.living import Living
from tui.screens.detail import DetailScreen

SIZES = [(80, 24), (120, 36), (200, 50)]


@pytest.mark.parametrize("size", SIZES)
async def test_a_waiting_proposal_is_told_at_every_size(living: Living, size: tuple[int, int]) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "#11 waits 0:41" in screen_text(app))
        await pilot.press("j", "j")  # another row: still there
        shown = screen_text(app)
        assert "#11 waits 0:41" in shown and "a approve" in shown and "#10 training" in shown and "2.9050" in shown
        living.wait(11, 41.0, held=True)
        await until(pilot, lambda: "#11 waits (countdown paused)" in screen_text(app))


async def test_the_bell_rings_once_for_a_proposal(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    app, rung = app_on(living.folder), []
    monkeypatch.setattr(app, "bell", lambda: rung.append(1))
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: rung)
        living.wait(11, 30.0)
        await until(pilot, lambda: "waits 0:30" in screen_text(app))
        assert rung == [1]


async def test_approve_and_skip_say_the_number_that_is_shown(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("a")
        await until(pilot, lambda: living.told(commands.Approve))
        await pilot.press("s")
        await until(pilot, lambda: living.told(commands.Skip))
        assert living.told(commands.Approve)[0].number == 11
        assert (living.told(commands.Skip)[0].number, living.told(commands.Skip)[0].reason) == (11, "")


async def test_an_approval_that_the_loop_refused_is_not_called_one(living: Living) -> None:
    living.refuses = "#11 does not wait for an answer"
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("a")
        await until(pilot, lambda: app._notifications)
        (note,) = app._notifications
        assert note.message == living.refuses and note.severity == "warning"


async def test_nobody_approves_what_is_not_on_the_screen(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("j", "j", "a")
        await until(pilot, lambda: app.followed is not None and app.followed.number == 11)
        assert not living.told(commands.Approve)
        await pilot.press("a")
        await until(pilot, lambda: living.told(commands.Approve))


async def test_what_is_not_drawn_yet_is_not_approved_either(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.app.REST_S", 3600.0)  # the other panes never follow by themselves
    monkeypatch.setattr("tui.bridge.SLOW_S", 1e9)
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        living.show(waiting=None)
        await until(pilot, lambda: not app.key_context.waiting)
        await pilot.press("j", "j")
        app.updates.show_followed()
        living.wait(11)
        await until(pilot, lambda: app.key_context.waiting)
        before = app.drawn_number
        await pilot.press("k", "k", "k")
        assert app.followed is not None and app.followed.number == 11 and app.drawn_number == before != 11
        await pilot.press("a")
        assert not living.told(commands.Approve)


async def test_what_waits_is_answered_from_its_details_and_nothing_else_is(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("G", "enter", "left_square_bracket")
        await until(pilot, lambda: app.key_context.detail and not app.key_context.waiting)
        await pilot.press("a", "s")
        await until(pilot, lambda: any("does not wait" in note.message for note in app._notifications))
        await pilot.press(*["right_square_bracket"] * 20)
        await until(pilot, lambda: app.key_context.waiting)
        assert "a approve" in screen_text(app) and not living.told(commands.Approve) and not living.told(commands.Skip)
        await pilot.press("a")
        await until(pilot, lambda: living.told(commands.Approve))
        assert living.told(commands.Approve)[0].number == 11 and isinstance(app.screen, DetailScreen)
        await pilot.press("S", *"no", "enter")
        await until(pilot, lambda: living.told(commands.Skip))
        assert living.told(commands.Skip)[0].reason == "no"


async def test_reading_the_help_costs_no_decision(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("question_mark")
        await until(pilot, lambda: living.told(commands.Hold))
        assert living.told(commands.Hold)[0].on
        await pilot.press("escape")
        await until(pilot, lambda: not living.told(commands.Hold)[-1].on)


async def test_reading_how_it_stands_holds_the_clock(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[0]) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("8")
        await until(pilot, lambda: living.told(commands.Hold) and living.told(commands.Hold)[-1].on)
        assert "escape goes to the panes" in screen_text(app) and "a approve" not in screen_text(app)
        await pilot.press("question_mark", "escape")  # page 8 is still there
        await pilot.pause(0.3)
        assert living.told(commands.Hold)[-1].on and len(living.told(commands.Hold)) == 1
        await pilot.press("escape")
        await until(pilot, lambda: not living.told(commands.Hold)[-1].on)
        await until(pilot, lambda: "a approve" in screen_text(app))


async def test_a_proposal_for_an_older_program_md_says_so(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[0]) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("2")
        assert "program.md has changed" not in screen_text(app)
        living.record("charter", sha="another", understood=[], limits={})
        await until(pilot, lambda: "program.md has changed since this was proposed." in screen_text(app))


@pytest.mark.parametrize("key", ["t", "slash", "Q", "colon", "o"])
async def test_no_countdown_ends_while_a_prompt_or_a_menu_is_open(living: Living, key: str) -> None:
    living.show(waiting=None)
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded and app.key_context.alive)
        await pilot.press("G", key)
        await until(pilot, lambda: app.is_typing)
        await until(pilot, lambda: living.told(commands.Hold))
        (hold,) = living.told(commands.Hold)
        assert hold.on and hold.number == 0, "whatever waits, also what comes now"
        await pilot.press("escape")
        await until(pilot, lambda: not living.told(commands.Hold)[-1].on)


async def test_any_key_and_any_click_is_attention(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.attention.EVERY_S", 0.0)
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1]) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        assert living.attended == 0
        for count, key in enumerate(("j", "t", "x", "escape", "f9"), start=1):
            await pilot.press(key)
            await until(pilot, lambda count=count: living.attended >= count)
        before = living.attended
        await pilot.click("#experiments", offset=(5, 3))
        await until(pilot, lambda: living.attended > before)


async def test_a_page_that_is_left_open_holds_nothing_for_long(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1]) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("question_mark")
        await until(pilot, lambda: living.told(commands.Hold) and living.told(commands.Hold)[-1].on)
        monkeypatch.setattr("tui.attention.READING_S", 0.0)
        await until(pilot, lambda: not living.told(commands.Hold)[-1].on)


@pytest.mark.parametrize("key", ["a", "s", "S", "e"])
async def test_the_first_press_shows_what_waits_where_something_else_is_shown(living: Living, key: str) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("j", "enter", "left_square_bracket", "escape")
        await until(pilot, lambda: app.drawn_number not in (None, 11))
        await pilot.press(key)
        await until(pilot, lambda: f"This is #11, which waits for you. {key} again" in screen_text(app))
        await until(pilot, lambda: app.drawn_number == 11)
        assert not [command for command in living.heard if not isinstance(command, commands.Hold)] and not app.is_typing


async def test_where_only_another_pane_is_shown_the_change_is_shown_first(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[0], notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("4", "a")
        await until(pilot, lambda: "2 change · #11 waits for you" in screen_text(app))
        assert not living.told(commands.Approve)
        await pilot.press("a")
        await until(pilot, lambda: living.told(commands.Approve))


async def test_an_approved_proposal_does_not_wait_although_live_json_says_so(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1]) as pilot:
        await until(pilot, lambda: app.key_context.waiting and "#11 waits for you" in screen_text(app))
        living.record("approved", number=11, by="time-out")
        await until(pilot, lambda: "queued" in screen_text(app))
        shown = screen_text(app)
        assert "waits" not in shown and "a approve" not in shown


async def test_while_keys_are_text_the_footer_offers_no_decision(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=SIZES[1]) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("t", *"as")
        await until(pilot, lambda: screen_text(app).splitlines()[-1].split() == ["enter", "done", "escape", "cancel"])
        await pilot.click("#keys", offset=(screen_text(app).splitlines()[-1].index("enter"), 0))
        await until(pilot, lambda: [told.text for told in living.told(commands.Tell)] == ["as"])
        await until(pilot, lambda: "a approve" in screen_text(app))
