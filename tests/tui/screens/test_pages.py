"""Pages of text over the panes: the help, and the status of the run."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events

from core.record import events as ev
from core.record.experiment import Experiment
from core.reporting import phrases
from core.verdicts import Verdict
from tests.core.judging.test_gain import proposed
from tests.tui.conftest import app_on, screen_text, until
from tui import keys
from tui.screens.help import KINDS_OF_CRASH, WORDS, HelpPane, HelpScreen
from tui.textual_internals import Static

FULL = (120, 40)


async def test_a_page_keeps_its_title_when_the_focus_leaves_and_comes(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        for key, title in (
            ("enter", "#9 inconclusive"),
            ("question_mark", "help · escape"),
            ("8", "8 summary · escape"),
        ):
            await pilot.press(key)
            assert title in screen_text(app)
            body = app.screen.focused
            assert body is not None
            body.blur()
            await pilot.pause()
            body.focus()
            await pilot.pause()
            assert title in screen_text(app)
            await pilot.press("escape")


async def test_help_names_every_key_and_pane(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=(130, 80)) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        shown = " ".join(screen_text(app).split())
        for key in keys.KEYS:
            assert key.about.replace("`", "")[:40] in shown, key.about
        await pilot.press("q")
        assert not isinstance(app.screen, HelpScreen) and app.is_running


async def test_the_eighth_says_how_it_stands(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("8")
        shown = screen_text(app)
        assert "2 kept of 8 tried" in shown and "unattended" not in shown, "it has ended, so nothing waits or not"
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        await pilot.press("escape", "escape")
        assert len(app.screen_stack) == 1


@pytest.mark.parametrize("page", ["enter", "question_mark", "8"])
@pytest.mark.parametrize("key", ["ctrl+q", "ctrl+c"])
async def test_what_leaves_every_program_leaves_this_one_from_any_page(recorded: Path, page: str, key: str) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press(page)
        assert len(app.screen_stack) == 2
        await pilot.press(key)
    assert app.return_value is not None and "make run" in app.return_value


def test_every_word_of_the_table_is_explained() -> None:
    explained = {name for name, _ in WORDS}
    assert {verdict.words for verdict in Verdict if verdict is not Verdict.CRASH} <= explained
    shown = set()
    for number, (gain, within, pairs) in enumerate(
        [(-1.0, False, 1), (1.0, False, 1), (1.0, True, 2), (1.0, True, 1)], 1
    ):
        experiment = Experiment(proposed(number, "start"))
        shown.add(phrases.verdict(experiment))
        experiment.launched = True
        shown.add(phrases.verdict(experiment))
        experiment.judged = ev.Judged(
            number=number, verdict=Verdict.DISCARD, finding="", gain=gain, within_noise=within, pairs=pairs
        )
        shown.add(phrases.verdict(experiment))
    assert len(shown) == 6 and shown <= explained


async def test_each_of_several_quick_presses_scrolls_and_no_row_of_the_help_is_broken(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("question_mark")
        page = app.screen.query_one(HelpPane)
        for key in "j" * 23 + "k" * 3:
            app.post_message(events.Key(key, key))
        await until(pilot, lambda: page.scroll_y == 20)
        text = str(app.screen.query_one("#help-text", Static).content).splitlines()
        assert f"  {KINDS_OF_CRASH}" in text, "a long name has a line of its own"
