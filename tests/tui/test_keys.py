"""The table of keys: which are valid, which are near each other, and what is said about them."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from textual.widgets import OptionList

from core.run import commands
from tests.tui.conftest import app_on, screen_text, until
from tests.tui.living import Living
from tui import keys
from tui.app import AutoResearch
from tui.panes import registry
from tui.panes.experiments import ExperimentsPane
from tui.screens.summary import SummaryPane
from tui.widgets.footer import KeysLine
from tui.widgets.prompt import Prompt

FULL = (120, 40)


async def test_keys_that_make_no_sense_are_not_offered(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        offered = {binding.action for _, binding, enabled, _ in app.screen.active_bindings.values() if enabled}
        assert {"explain", "detach", "sort"} <= offered
        assert not offered & {"approve", "skip", "pause", "abort", "tell", "rerun", "overrule", "own"}


CONTEXTS = [
    keys.KeyContext(
        **dict(zip(("alive", "selected", "judged", "detail", "small", "read_only", "browser"), values, strict=True))
    )
    for values in product((False, True), repeat=7)
]


@pytest.mark.parametrize("key", keys.KEYS, ids=lambda key: key.action)
def test_a_key_works_or_says_why_not(key: keys.Key) -> None:
    for context in CONTEXTS:
        valid = keys.is_valid(key.action, context)
        assert bool(keys.reason(key, context, "`make run`")) is not valid, context
        assert keys.reason(key, context, "`make run`", page=True), context


def test_what_stops_a_key_is_said_in_this_order() -> None:
    ended = keys.KeyContext(selected=True, judged=True)
    for name in "aptEorQ":
        key = keys.key_of(name)
        assert key is not None and "needs a running loop" in keys.reason(key, ended, "`make run`")
    approve = keys.key_of("a")
    assert approve is not None
    assert "Nothing waits" in keys.reason(approve, keys.KeyContext(alive=True), "")
    assert "does not wait" in keys.reason(approve, keys.KeyContext(alive=True, detail=True), "")
    assert "read-only" in keys.reason(approve, keys.KeyContext(read_only=True), "")
    why = keys.key_of("S")
    assert why is not None and keys.reason(why, keys.KeyContext(tiny=True, unreadable=True), "") == keys.LARGER
    assert not keys.reason(why, keys.KeyContext(alive=True, waiting=True, tiny=True), "")
    assert keys.key_of("slash", "/") is keys.key_of(None, ">", "slash") and keys.key_of("0") is None


@pytest.mark.parametrize("key", ["o", "r", "p", "E", "t", "u", "x", "a"])
@pytest.mark.parametrize("where", ["panes", "details", "summary", "help"])
async def test_no_key_is_dead_without_a_loop(recorded: Path, key: str, where: str) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL, notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press(*{"panes": [], "details": ["enter"], "summary": ["8"], "help": ["question_mark"]}[where])
        await until(pilot, lambda: (app.screen is app.main) is (where == "panes"))
        await pilot.press(key)
        if (where, key) == ("summary", "a"):
            await until(pilot, lambda: "a again commits" in screen_text(app))
        else:
            await until(pilot, lambda: "This key needs a running loop" in screen_text(app))


async def test_a_key_that_the_screen_handles_brings_no_note(recorded: Path) -> None:
    """Such as escape on the details, which is not a key of the app there."""
    app = app_on(recorded)
    async with app.run_test(size=FULL, notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press("5")
        for back in ("escape", "q", "enter"):
            await pilot.press("enter")
            await until(pilot, lambda: app.screen is not app.main)
            await pilot.press(back)
            await until(pilot, lambda: app.screen is app.main)
            assert not app._notifications, [note.message for note in app._notifications]
        await pilot.press("8", "a")
        assert ["a again" in note.message for note in app._notifications] == [True]


@pytest.mark.parametrize("size", [FULL, (50, 12), (40, 10), (30, 8)])
@pytest.mark.parametrize("keys_pressed", [("w",), ("enter", "w"), ("question_mark", "w"), ("f5",)])
async def test_an_unknown_key_says_so_at_any_size(
    recorded: Path, size: tuple[int, int], keys_pressed: tuple[str, ...]
) -> None:
    app = app_on(recorded)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        await pilot.press(*keys_pressed)
        await until(pilot, lambda: any("does nothing here" in note.message for note in app._notifications), 20)


@pytest.mark.parametrize("size", [FULL, (80, 24), (60, 16), (50, 12), (40, 10)])
async def test_a_reason_is_typed_at_any_size(living: Living, size: tuple[int, int]) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=size, notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting and "#11" in screen_text(app))
        if size == (80, 24):
            await pilot.press("2")
        await pilot.press("S", *"a path", "enter")
        await until(pilot, lambda: living.told(commands.Skip), 20)
        assert living.told(commands.Skip)[0].reason == "a path" and not living.told(commands.Approve)


@pytest.mark.parametrize("where", ["a page", "other details", "too small", "another pane"])
async def test_text_for_a_line_that_did_not_open_is_ignored(living: Living, where: str) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=(30, 8) if where == "too small" else (80, 24), notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press(
            *{"a page": ["question_mark"], "other details": ["G", "enter"], "another pane": ["4"]}.get(where, [])
        )
        await pilot.press("S", *"apt guess, says e", "enter")
        await until(pilot, lambda: app._notifications)
        assert "ignored" in next(iter(app._notifications)).message
        assert app.is_running and not [one for one in living.heard if not isinstance(one, commands.Hold)]


async def test_the_keys_of_the_summary_say_why_they_wait(living: Living) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=FULL, notifications=True) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press("8")
        for key in "aec":
            await until(pilot, lambda: not app._notifications)
            await pilot.press(key)
            await until(pilot, lambda: "A loop works on this run." in screen_text(app))
            app.clear_notifications()
        assert not [command for command in living.heard if not isinstance(command, commands.Hold)]


async def test_escape_leaves_the_filter_but_not_the_experiment(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL, notifications=True) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        table = app.query_one(ExperimentsPane)
        await pilot.press("j", "j", "j", "f")
        await until(pilot, lambda: "kept" in str(table.border_title))
        await pilot.press("j")
        chosen = app.selection.chosen
        await pilot.press("escape")
        await until(pilot, lambda: "all" in str(table.border_title))
        assert app.selection.chosen == chosen == table.selected
        await pilot.press("escape")
        await until(pilot, lambda: "g follows the newest" in screen_text(app))
        assert app.selection.chosen == chosen == table.selected
        await pilot.press("g")
        await until(pilot, lambda: app.selection.chosen is None)


async def test_the_footer_has_one_line_with_the_keys_of_the_focused_pane(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        shown = {}
        for pane in "135":
            await pilot.press(pane)
            await until(pilot, lambda pane=pane: app.key_context.pane == pane)
            line = app.screen.query_one(KeysLine)
            shown[pane] = str(line.render())
            assert "\n" not in shown[pane] and shown[pane].startswith("? help  : all"), shown[pane]
        assert "m program" in shown["1"] and "L log scale" in shown["3"] and "/ search" in shown["5"]
        assert "/ search" not in shown["1"] + shown["3"] and "L log scale" not in shown["5"]
        await pilot.press("1", "slash")  # a key works in every pane
        await until(pilot, lambda: any(prompt.display for prompt in app.screen.query(Prompt)))


@pytest.mark.parametrize("pane", "1234567")
async def test_a_wide_footer_shows_the_most_important_keys_and_not_all(living: Living, pane: str) -> None:
    app = app_on(living.folder)
    async with app.run_test(size=(240, 50)) as pilot:
        await until(pilot, lambda: app.key_context.waiting)
        await pilot.press(pane)
        await until(pilot, lambda: app.key_context.pane == pane)
        shown = str(app.screen.query_one(KeysLine).render())
        assert len(shown.split("  ")) == keys.MOST_IN_FOOTER
        assert shown.startswith("a approve  s skip  S skip, why  e revise  ? help  : all  q detach"), shown


async def test_no_binding_is_swallowed_by_terminals_and_none_is_given_twice() -> None:
    taken = [word for key in keys.KEYS for word in key.keys.split(",")]
    assert len(taken) == len(set(taken))
    assert not set(taken) & {f"ctrl+{c}" for c in "mhjiab"} and not set(taken) & set("hl")


NEIGHBOURS = {"j": "huiknm", "k": "jiolm", "g": "ftyhbv", "G": "FTYHBV"}  # on a QWERTY keyboard


AT_ONCE = {"approve", "skip", "pause", "rerun"}  # one press is enough; test_decisions.py shows that all others ask


async def test_no_key_beside_a_movement_key_changes_anything_at_once() -> None:
    beside = set("".join(NEIGHBOURS.values()))
    assert not {key.action for key in keys.KEYS if beside & set(key.keys.split(","))} & AT_ONCE


async def test_the_palette_has_everything(recorded: Path) -> None:
    app = app_on(recorded)
    async with app.run_test(size=FULL) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert any("details" in title for title in titles) and "Theme" in titles
        await pilot.press("colon")
        await until(pilot, lambda: type(app.screen).__name__ == "CommandPalette")
        found = app.screen.query_one(OptionList)
        await until(pilot, lambda: found.option_count == len(titles))
        listed = [str(option.prompt).splitlines()[0].strip() for option in found.options]
        assert listed == titles, "in the order of the help, not of the alphabet"


def test_every_key_has_an_action_and_every_pane_a_digit() -> None:
    for key in keys.KEYS:
        assert hasattr(AutoResearch, f"action_{key.action}"), key
    assert (
        "".join(sorted(str(pane.NUMBER) for pane in [*(entry.factory for entry in registry.ENTRIES), SummaryPane]))
        == keys.PANES
    )
