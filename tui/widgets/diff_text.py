"""A diff whose long lines move sideways, and whose hunks can be folded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual import events
from textual.app import App
from textual.message import Message

from tui.system import colours
from tui.textual_internals import Static
from tui.view import diffs, folds
from tui.view.diffs import PALETTES, Line, Palette

MORE = "← → long lines"  # the note where a line is cut off
STEP = 16  # columns of one press of a key, and of one step of the wheel


def palette(app: App[Any]) -> Palette:
    """Return the styles of added and removed lines in the theme of an app."""
    return PALETTES[colours.depth(app), app.current_theme.dark]


class DiffText(Static):
    """Shows a diff. Lines that are too long are cut off, and `move` shows their rest."""

    class Folded(Message):
        """Posted when hunks of `diff` were folded or unfolded."""

        def __init__(self, diff: DiffText) -> None:
            super().__init__()
            self.diff = diff

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._lines: Sequence[Line] = ()
        self._shown: Sequence[Line] = ()  # without those of folded hunks
        self._folded: set[int] = set()
        self._chosen: int | None = None  # the hunk that the user has gone to
        self._rows: list[int] = []  # where the heading of each hunk is
        self._width = 0
        self._offset = 0

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._draw())  # the ansi themes have no shades

    @property
    def is_cut(self) -> bool:
        """Whether a line is too long."""
        return diffs.most_offset(self._shown, self._width) > 0

    @property
    def hunks(self) -> int:
        """The number of hunks."""
        return sum(line.sign == "@" for line in self._lines)

    @property
    def is_folded(self) -> bool:
        """Whether a hunk is folded."""
        return bool(self._folded)

    @property
    def is_chosen(self) -> bool:
        """Whether the user has gone to one of its hunks."""
        return self._chosen is not None

    @property
    def notes(self) -> str:
        """Whether hunks are folded, and the keys that this diff needs, for a title; '' for a short diff."""
        count, parts = self.hunks, []
        if self._folded:
            parts = [f"{len(self._folded)} of {count} parts folded, F unfolds"]
        elif count > 1:
            parts = ["F folds"]
        return " · ".join([*parts, *([MORE] if self.is_cut else [])])

    def show(self, lines: Sequence[Line], width: int) -> None:
        """Show a diff in `width` columns. The same diff stays where it was moved to, and folded."""
        if lines != self._lines:
            self._offset, self._folded, self._chosen = 0, set(), None
        self._lines, self._width = lines, width
        self._draw()

    def move(self, columns: int) -> None:
        """Move the code to the left by some columns; to the right if they are negative."""
        offset = min(diffs.most_offset(self._shown, self._width), max(0, self._offset + columns))
        if offset != self._offset:
            self._offset = offset
            self._draw()

    def fold_all(self, fold: bool) -> None:
        """Fold all hunks, or unfold all."""
        self._fold(set(range(self.hunks)) if fold else set())

    def fold_chosen(self) -> None:
        """Fold or unfold the hunk that the user has gone to, or else the first one."""
        if self.hunks:
            self.action_fold(self._chosen or 0)

    def action_fold(self, hunk: int) -> None:
        """Fold or unfold one hunk. Also the action of a click on its heading."""
        self._chosen = hunk
        self._fold(self._folded ^ {hunk})

    def choose(self, step: int) -> int | None:
        """Go to the next hunk, or to the previous one for -1; the first time to the first or the last one.

        Returns:
            The row of its heading, or None if there is no further hunk.
        """
        outside = -1 if step > 0 else self.hunks
        chosen = (outside if self._chosen is None else self._chosen) + step
        if not 0 <= chosen < self.hunks:
            return None
        self._chosen = chosen
        self._draw()
        return self._rows[chosen]

    def leave(self) -> None:
        """Let no hunk be the chosen one."""
        if self._chosen is not None:
            self._chosen = None
            self._draw()

    def _fold(self, folded: set[int]) -> None:
        self._folded = folded
        self._draw()
        self.post_message(self.Folded(self))

    def _draw(self) -> None:
        """Update the text. The layout is only computed again if its height changes."""
        self._shown = folds.fold(self._lines, self._folded, self._chosen)
        self._offset = min(self._offset, diffs.most_offset(self._shown, self._width))
        content = diffs.render(self._shown, self._width, self._offset, palette=palette(self.app))
        self._rows = folds.rows(content.plain)
        width, height = self.size
        same = width and content.get_height(self.styles.get_rules(), width) == height
        self.update(content, layout=not same)

    def on_mouse_scroll_right(self, event: events.MouseScrollRight) -> None:
        event.stop()
        self.move(STEP)

    def on_mouse_scroll_left(self, event: events.MouseScrollLeft) -> None:
        event.stop()
        self.move(-STEP)
