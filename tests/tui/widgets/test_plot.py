"""The plots in the colours of the terminal and of the theme, and what is told apart where there are few colours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from textual.content import Content

from tests.tui.conftest import app_on, screen_text, until
from tui.panes.change import ChangePane
from tui.panes.experiments import ExperimentsPane
from tui.panes.night import NightPane
from tui.widgets.diff_text import DiffText
from tui.widgets.plot import Plot


@pytest.mark.parametrize("theme", ["ansi-light", "ansi-dark", "textual-dark", "solarized-light", "nord"])
async def test_a_plot_has_the_background_of_its_pane_or_of_the_terminal(recorded: Path, theme: str) -> None:
    app = app_on(recorded)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "finished" in screen_text(app))
        app.theme = theme
        await pilot.pause()
        styles = [str(span.style) for span in app.query_one(NightPane).query_one(Plot).render().spans]
        assert styles and not any("on " in style for style in styles), styles
        assert not theme.startswith("ansi") or not any("#000000" in style for style in styles), styles


async def test_a_terminal_of_16_colours_tells_curves_rows_and_lines_apart(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLORTERM")
    monkeypatch.setenv("TERM", "xterm")
    app = app_on(recorded)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: app.bridge.loaded and app.drawn_number is not None)
        assert "· best" in screen_text(app), "a curve of dots"
        assert app.query_one(ExperimentsPane).get_component_styles("datatable--cursor").text_style.reverse
        await pilot.press("j")
        await until(pilot, lambda: app.drawn_number == app.selection.chosen)
        shown = app.query_one(ChangePane).query_one(DiffText).visual
        assert isinstance(shown, Content)
        styles = {str(span.style) for span in shown.spans}
        assert styles & {"ansi_green", "ansi_red"} and not any("18%" in style for style in styles)


@pytest.mark.parametrize("theme", ["ansi-light", "ansi-dark", "textual-dark"])
async def test_the_diff_follows_the_theme(recorded: Path, theme: str) -> None:
    app = app_on(recorded)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: app.bridge.loaded and app.drawn_number is not None)
        await pilot.press("j")
        await until(pilot, lambda: app.drawn_number == app.selection.chosen)
        app.theme = theme
        await pilot.pause()
        shown = app.query_one(ChangePane).query_one(DiffText).visual
        assert isinstance(shown, Content)
        has_shades = any("18%" in str(span.style) for span in shown.spans)
        assert has_shades is not theme.startswith("ansi")
        reverse = app.query_one(ExperimentsPane).get_component_styles("datatable--cursor").text_style.reverse
        assert bool(reverse) is theme.startswith("ansi")


@pytest.mark.parametrize(("value", "kept"), [("", False), ("1", True)])
def test_an_empty_no_color_is_no_wish(value: str, kept: bool) -> None:
    code = "import tui.__main__, os; print('NO_COLOR' in os.environ)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "NO_COLOR": value}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(kept)


def test_the_app_imports_plotext_only_to_draw() -> None:
    """The import takes a part of the time until the first paint."""
    code = "import tui.__main__, tui.app, sys; print('plotext' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
