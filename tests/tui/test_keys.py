"""The table of keys: which are valid, which are near each other, and what is said about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.tui.conftest import app_on, until
from tui import keys
from tui.app import AutoResearch
from tui.panes import registry
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


async def test_a_reason_is_only_given_for_a_key_that_is_not_valid() -> None:
    waiting = keys.KeyContext(alive=True, waiting=True, running=True)
    assert not keys.unavailable_reason("a", waiting) and not keys.unavailable_reason("x", waiting)
    assert not keys.unavailable_reason("a", replace(waiting, detail=True)) and not keys.unavailable_reason(
        "a", keys.KeyContext(tiny=True)
    )
    assert "Nothing waits" in keys.unavailable_reason("a", keys.KeyContext(alive=True))


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


def test_every_key_has_an_action_and_every_pane_a_digit() -> None:
    for key in keys.KEYS:
        assert hasattr(AutoResearch, f"action_{key.action}"), key
    assert (
        "".join(sorted(str(pane.NUMBER) for pane in [*(entry.factory for entry in registry.ENTRIES), SummaryPane]))
        == keys.PANES
    )
