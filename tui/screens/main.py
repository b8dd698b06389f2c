"""The main screen with all panes. On a small terminal, or with a zoomed pane, it shows one pane at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

from textual import events
from textual.app import App
from textual.widget import Widget
from textual.widgets import Static

from tui.textual_internals import QuietScreen
from tui.widgets.pane import Numbered

ALL_PANES = (120, 36)  # least columns and rows to show all panes at once
LEAST = (72, 20)  # least columns and rows for the app


class MainScreen(QuietScreen):
    """The bottom screen of the stack. The app composes its widgets."""

    AUTO_FOCUS: ClassVar[str | None] = ""  # a pane gets the focus when the journal is read

    def __init__(self, pane_types: Sequence[type[Numbered]]) -> None:
        super().__init__(id="_default")
        self._pane_types = pane_types
        self._has_content = False  # False until the journal is read, to avoid drawing empty panes
        self._current: Widget | None = None  # the pane that is shown if only one fits
        self.is_small = False
        self.is_zoomed = False

    @property
    def is_tiny(self) -> bool:
        """Whether the terminal is too small for the app."""
        return self.has_class("-tiny")

    def fit_terminal(self, width: int, height: int) -> None:
        """Adapt to the size of the terminal. `arrange_panes` must follow."""
        self.is_small = width < ALL_PANES[0] or height < ALL_PANES[1]
        self.set_class(self.is_small, "-small")
        self.set_class(width < LEAST[0] or height < LEAST[1], "-tiny")
        self.query_one("#tiny", Static).update(
            f"The app needs {LEAST[0]} columns and {LEAST[1]} rows;\nthis terminal has {width} by {height}. Enlarge it.\n"
            f"The loop keeps running. q closes the app."
        )

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

    def toggle_zoom(self) -> None:
        """Maximise the current pane, or show all panes again."""
        self.is_zoomed = not self.is_zoomed
        self.arrange_panes()

    def arrange_panes(self) -> None:
        """Show all panes or only the current one.

        Sets styles of the panes themselves. With classes of the screen, Textual would update the styles of all contents.
        """
        shows_one = self.is_small or self.is_zoomed
        self.query_one("#panes").styles.layout = "vertical" if shows_one else "grid"
        for pane in self.query(".pane"):
            pane.display = self._has_content and (not shows_one or pane is self._current)
        self._update_tabs()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Make the focused pane the current one."""
        if self.app.screen is self and event.widget.has_class("pane"):
            self._current = event.widget
            self.arrange_panes()

    def _update_tabs(self) -> None:
        """Update the line of tabs, which a small screen has."""
        if not self.is_small:
            return
        tabs = []
        for pane in self._pane_types:
            name = f"{pane.NUMBER} {pane.NAME.removesuffix('.md').removeprefix('the ')}"
            is_current = self._current is not None and isinstance(self._current, cast(type, pane))
            tabs.append(f"[reverse] {name} [/reverse]" if is_current else f" {name} ")
        self.query_one("#tabs", Static).update("".join(tabs))


def main_screen(app: App[str]) -> MainScreen:
    """Return the main screen of an app, even if another screen is on top."""
    return cast(MainScreen, app.screen_stack[0])
