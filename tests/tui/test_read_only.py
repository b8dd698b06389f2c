"""An app that may change nothing, on a run that lives."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.reporting import phrases
from core.run import commands
from tests.tui.conftest import HERE, screen_text, until
from tests.tui.living import Living
from tui import keys
from tui.app import AutoResearch
from tui.widgets.footer import KeysLine
from tui.widgets.prompt import Prompt

SIZE = (200, 50)
PROGRAM = HERE / "recorded" / "program.md"


def read_only(living: Living, program: Path = PROGRAM) -> AutoResearch:
    return AutoResearch(living.folder, program, opens_summary=False, read_only=True)


CHANGING = sorted(key.keys for key in keys.KEYS if key.action in keys.CHANGING)


@pytest.mark.parametrize("key", CHANGING)
async def test_a_key_that_would_change_the_run_is_refused_with_one_sentence(living: Living, key: str) -> None:
    app = read_only(living)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press(key)
        await until(pilot, lambda: "This app is read-only" in screen_text(app))
        assert len(app._notifications) == 1 and app.screen is app.main
        assert not any(prompt.display for prompt in app.screen.query(Prompt))
    assert not living.heard


async def test_what_is_sent_all_the_same_is_refused_where_it_is_sent(living: Living) -> None:
    """Such as by an action that the table of keys does not know."""
    app = read_only(living)
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        assert await app.bridge.send(commands.Stop()) == commands.Reply(ok=False, words=phrases.READ_ONLY)
        app.send_later(commands.Approve(number=11))
        await until(pilot, lambda: "This app is read-only" in screen_text(app))
    assert not living.heard


async def test_no_action_that_changes_the_run_can_be_called_by_name(living: Living, tmp_path: Path) -> None:
    program = tmp_path / "program.md"
    program.write_text("Use at most 1M parameters.\n")
    app = read_only(living, program)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        for action in keys.CHANGING:
            assert not await app.run_action(f"app.{action}"), action
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert not any("approve" in title or "Screenshot" in title for title in titles)
    assert not living.heard and program.read_text() == "Use at most 1M parameters.\n"


async def test_the_footer_offers_only_what_is_allowed(living: Living) -> None:
    app = read_only(living)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        shown = str(app.screen.query_one(KeysLine).render())
        assert "? help" in shown and "q detach" in shown and "details" in shown
        assert not any(f"{keys.display(key)} {key.footer}" in shown for key in keys.KEYS if key.action in keys.CHANGING)


async def test_reading_holds_no_clock_and_the_loop_does_not_wait_for_this_app(living: Living) -> None:
    app = read_only(living)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("question_mark")
        await until(pilot, lambda: app.screen is not app.main)
        await until(pilot, lambda: all(worker.is_finished for worker in app.workers if worker.name == "stay_attached"))
    assert not living.heard and not living.attached_ever


async def test_an_app_that_may_change_the_run_attaches(living: Living) -> None:
    app = AutoResearch(living.folder, PROGRAM, opens_summary=False)
    async with app.run_test(size=SIZE) as pilot:
        await until(pilot, lambda: living.attached_ever)
        await until(pilot, lambda: app.key_context.waiting)
        assert "a approve" in str(app.screen.query_one(KeysLine).render())
