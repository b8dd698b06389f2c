"""The plots in the themes that use the terminal's own colours."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.conftest import app_on, screen_text, until
from tui.panes.night import NightPane
from tui.widgets.plot import Plot


@pytest.mark.parametrize("theme", ["ansi-light", "ansi-dark"])
async def test_a_plot_has_the_background_of_the_terminal(recorded: Path, theme: str) -> None:
    app = app_on(recorded)
    async with app.run_test(size=(120, 36)) as pilot:
        await until(pilot, lambda: "finished" in screen_text(app))
        app.theme = theme
        await pilot.pause()
        styles = [str(span.style) for span in app.query_one(NightPane).query_one(Plot).render().spans]
        assert styles and not any("on " in style or "#000000" in style for style in styles), styles
