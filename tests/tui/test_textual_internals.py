"""The private parts of Textual that the app relies on."""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import ClassVar

import pytest
import textual
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.segment import Segment
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip
from textual.widgets import Static as TextualStatic

import tui.app
from tests.tui.conftest import HERE, screen_text, until
from tests.tui.living import Living
from tui.app import AutoResearch
from tui.textual_internals import TEXTUAL_VERSION, ChangedCells, Shown, Static


def test_they_are_those_of_the_installed_version() -> None:
    assert textual.__version__ == TEXTUAL_VERSION, (
        "Look through tui/textual_internals.py before you change the version."
    )


class Grid:
    """A terminal that understands what the app writes: movements of the cursor, styles and text."""

    def __init__(self, width: int, height: int) -> None:
        self._lines = [[" "] * width for _ in range(height)]

    def write(self, sequence: str) -> None:
        x = y = 0
        for part in re.findall(r"\x1b\[\d+;\d+H|\x1b\[[\d;]*m|\n|[^\x1b\n]+", sequence):
            if moved := re.fullmatch(r"\x1b\[(\d+);(\d+)H", part):
                x, y = int(moved[2]) - 1, int(moved[1]) - 1
            elif part != "\n" and not part.startswith("\x1b"):
                for character in part:
                    width = cell_len(character)
                    self._lines[y][x : x + width] = [character, *[""] * (width - 1)]
                    x += width

    def text(self) -> str:
        return "\n".join("".join(line) for line in self._lines)


class Written(AutoResearch):
    """The app on such a terminal. Without a real one, Textual writes nothing."""

    CSS_PATH: ClassVar[list[str | PurePath]] = [Path(tui.app.__file__).parent / path for path in AutoResearch.CSS_PATH]
    grid = Grid(120, 40)
    written = 0

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        if not self._batch_count and (update := self._shown.reduced(renderable)) is not None:
            assert isinstance(update, CompositorUpdate)
            sequence = update.render_segments(self.console)
            self.grid.write(sequence)
            self.written += len(sequence.encode())
        super()._display(screen, renderable)


async def test_the_terminal_shows_the_screen_after_each_key(living: Living) -> None:
    app = Written(living.folder, HERE / "recorded" / "program.md", opens_summary=False)
    app.grid = Grid(120, 40)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.bridge.loaded)
        for key in (
            "z",
            "z",
            "5",
            "z",
            "G",
            "6",
            "z",
            "z",
            "2",
            "question_mark",
            "escape",
            "8",
            "escape",
            "j",
            "enter",
        ):
            await pilot.press(key)
            await until(pilot, lambda: app.grid.text() == screen_text(app))


async def test_a_tick_of_the_clock_writes_few_bytes(living: Living, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.bridge.SLOW_S", 1e9)  # the machine's figures differ from time to time
    app = Written(living.folder, HERE / "recorded" / "program.md", opens_summary=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.bridge.loaded and app.updates.noise is not None)
        await pilot.pause(0.5)
        before = app.written
        assert before > 10_000, "the first picture"
        living.wait(11, left_s=30.0)
        await until(pilot, lambda: "0:30" in screen_text(app) and app.written > before)
        assert 0 < app.written - before < 600, "a clock in the status line and in a title"


def test_an_update_is_reduced_to_what_has_changed() -> None:
    shown, console = Shown(), Console(force_terminal=True)

    def update(text: str) -> RenderableType | None:
        return shown.reduced(ChopsUpdate([{0: Strip([Segment(text)])}], [(0, 0, len(text))], [[len(text)]]))

    whole = LayoutUpdate([[Strip([Segment("left 1:04")])]], Region(0, 0, 9, 1))
    assert shown.reduced(whole) is whole
    reduced = update("left 1:03")
    assert isinstance(reduced, ChangedCells) and reduced.render_segments(console) == "\x1b[1;9H3"
    assert update("left 1:03") is None
    shown.forget()
    again = update("left 1:03")
    assert isinstance(again, ChangedCells) and again.render_segments(console) == "\x1b[1;1Hleft 1:03"


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
