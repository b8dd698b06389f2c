"""The private parts of Textual that the app relies on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import textual
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static as TextualStatic

import tui
from tests.tui.conftest import until
from tui.textual_internals import TEXTUAL_VERSION, Static


def test_they_are_those_of_the_installed_version() -> None:
    assert textual.__version__ == TEXTUAL_VERSION, (
        "Look through tui/textual_internals.py before you change the version."
    )


class Page(App[None]):
    def __init__(self, text: type[TextualStatic]) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield self._text("", id="text")


@pytest.mark.parametrize("lines", [1, 4])
async def test_a_text_has_the_height_of_its_last_content(lines: int) -> None:
    app = Page(Static)
    async with app.run_test() as pilot:
        text = app.query_one("#text", TextualStatic)
        text.update("two\nlines")
        app.screen._refresh_layout()  # as when the terminal was resized, before the text itself asks for a layout
        text.update("\n".join("x" * lines))
        await pilot.pause()
        await until(pilot, lambda: text.size.height == lines, 5.0)


def test_no_text_of_the_app_lacks_this() -> None:
    code = "\n".join(path.read_text() for path in Path(tui.__file__).parent.rglob("*.py"))
    found = re.findall(r"from textual.widgets import .*\bStatic\b.*", code)
    assert found == ["from textual.widgets import Static as TextualStatic"]
