"""The main screen with all panes. How many it shows at once depends on the size of the terminal: see `tui.view.layout`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from textual import events
from textual.app import App
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import DataTable, Input

from tui.textual_internals import QuietScreen, Static
from tui.view.layout import AROUND, LAYOUTS, LEAST, LEAST_ANSWER, fitting_layout, height_above_progress
from tui.widgets.pane import Numbered

ONE_LINE = 120  # columns from which the status fits into one line


class MainScreen(QuietScreen):
    """The bottom screen of the stack. The app composes its widgets."""

    class PaneChanged(Message):
        """Another pane has the focus."""

    AUTO_FOCUS: ClassVar[str | None] = ""  # a pane gets the focus when the journal is read

    def __init__(self, pane_types: Sequence[type[Numbered]]) -> None:
        super().__init__(id="_default")
        self._pane_types = pane_types
        self._has_content = False  # False until the journal is read, to avoid drawing empty panes
        self._current: Widget | None = None  # the pane that is shown if only one fits
        self._layout, (self._width, self._height) = LAYOUTS[0], LAYOUTS[0].least
        self._table_rows = 0
        self.is_narrow = False  # the status needs two lines
        self.is_zoomed = False
        self.is_unreadable = False  # the terminal is too small even for the text of a proposal
        self.tiny_proposal: int | None = None  # the proposal whose text a tiny terminal shows

    @property
    def is_small(self) -> bool:
        """Whether one pane is shown at a time, even if none is zoomed."""
        return self._layout.shows_one

    @property
    def is_tiny(self) -> bool:
        """Whether the terminal is too small for the panes."""
        return self.has_class("-tiny")

    def fit_terminal(self, width: int, height: int) -> None:
        """Adapt to the size of the terminal. `arrange_panes` must follow."""
        self._layout, self._width, self._height = fitting_layout(width, height), width, height
        self.is_narrow = width < ONE_LINE or self._layout.shows_one
        self.set_class(not self._layout.shows_all, "-tabs")
        was_tiny, is_tiny = self.is_tiny, width < LEAST[0] or height < LEAST[1]
        self.set_class(is_tiny, "-tiny")
        self.is_unreadable = width < LEAST_ANSWER[0] or height < LEAST_ANSWER[1]
        self.query_one("#experiments", DataTable).show_header = height >= LEAST[1]
        if was_tiny != is_tiny:
            self._focus_pane(self.query_one("#experiments") if is_tiny else self._current)

    def show_tiny(self, lines: Sequence[Content], proposal: int | None) -> None:
        """Show the status in a terminal that is too small for the panes. Longer lines are cut off.

        Args:
            lines: The lines.
            proposal: The number of the waiting proposal whose text is among them, or None.
        """
        self.query_one("#tiny", Static).update(Content("\n").join(lines))
        self.tiny_proposal = proposal
        self.set_class(proposal is not None or self.is_unreadable, "-asks")

    def show_panes(self, current: Widget) -> None:
        """Show the panes for the first time. `current` is the pane to show if only one fits."""
        self._has_content = True
        self._current = current
        self.arrange_panes()

    def focus_pane(self, number: int) -> None:
        """Focus a pane by its number. If one pane is shown at a time, this shows it."""
        for pane in self.query(".pane"):
            if getattr(pane, "NUMBER", 0) == number:
                pane.focus()

    @property
    def pane_number(self) -> str:
        """The number of the focused pane, or '' if none is."""
        return str(getattr(self._current, "NUMBER", ""))

    def toggle_zoom(self) -> None:
        """Maximise the current pane, or show all panes again."""
        self.is_zoomed = not self.is_zoomed
        self.arrange_panes()

    def arrange_panes(self) -> None:
        """Show the panes of the layout, or only the current one if it is zoomed. A terminal too small for panes shows the table.

        Sets styles of the panes themselves. With classes of the screen, Textual would update the styles of all contents. A zoomed
        pane covers all cells of the grid: with another grid, Textual would draw the contents of all panes again.
        """
        layout, current = self._layout, self._shown_name
        places = layout.zoomed(current) if self.is_zoomed and not self.is_tiny else layout.places(current)
        table_height = self._height_above_progress
        if table_height is not None:
            places = {"experiments": (1, 1), "night": (1, 1)}
        self.query_one("#experiments").styles.height = table_height or "1fr"
        grid = self.query_one("#panes").styles
        grid.layout = "vertical" if layout.shows_one else "grid"
        grid.grid_columns, grid.grid_rows = layout.columns, layout.rows
        grid.grid_size_columns, grid.grid_size_rows = len(layout.columns.split()), len(layout.rows.split())
        for pane in self.query(".pane"):
            span = places.get(pane.id or "")
            pane.display = self._has_content and span is not None
            if span is not None:
                pane.styles.column_span, pane.styles.row_span = span
        self._update_tabs()

    @property
    def _height_above_progress(self) -> int | None:
        """The height of the table if it leaves room for the progress below it; None if each pane has the whole screen."""
        is_table = self._layout.shows_one and not (self.is_tiny or self.is_zoomed) and self._shown_name == "experiments"
        return height_above_progress(self._table_rows, self._height - AROUND) if is_table else None

    def fit_table(self, rows: int) -> None:
        """Adapt to the number of experiments in the table."""
        before = self._height_above_progress
        self._table_rows = rows
        if self._has_content and self._height_above_progress != before:
            self.arrange_panes()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Make the focused pane the current one."""
        if self.app.screen is self and event.widget.has_class("pane") and not self.is_tiny:
            self._current = event.widget
            self.arrange_panes()
            self.post_message(self.PaneChanged())

    @property
    def _shown_name(self) -> str:
        """The name of the pane that is shown if only one is."""
        current = None if self.is_tiny or self._current is None else self._current.id
        return current or "experiments"

    def _focus_pane(self, pane: Widget | None) -> None:
        """Focus a pane, unless the user types."""
        if self._has_content and pane is not None and not isinstance(self.focused, Input):
            self.call_after_refresh(pane.focus)

    def _update_tabs(self) -> None:
        """Update the line of tabs, which the screen has if it does not show all panes."""
        if self._layout.shows_all:
            return
        names = [f" {pane.NUMBER} {pane.NAME.removesuffix('.md')} " for pane in self._pane_types]
        has_room = len("".join(names)) <= self._width
        tabs = []
        for pane, name in zip(self._pane_types, names, strict=True):
            is_current = self._current is not None and isinstance(self._current, cast(type, pane))
            shown = name if has_room or is_current else f" {pane.NUMBER} "
            tabs.append(f"[reverse]{shown}[/reverse]" if is_current else shown)
        self.query_one("#tabs", Static).update("".join(tabs))


def main_screen(app: App[str]) -> MainScreen:
    """Return the main screen of an app, even if another screen is on top."""
    return cast(MainScreen, app.screen_stack[0])
