"""The current change: the hypothesis on top, then the diff, side by side where there is room."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from core.record.live import Waiting
from tui.view import diffs, words
from tui.view.diffs import Line
from tui.widgets.pane import Pane

HYPOTHESIS_LINES = 4


class ChangePane(Pane):
    """One proposal."""

    NUMBER: ClassVar[int] = 2
    NAME: ClassVar[str] = "change"
    ABOUT: ClassVar[str] = (
        "The hypothesis and the diff of the selected experiment, or of the proposal that waits for you."
    )

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[int, str, str, str] | None = None
        self._lines: list[Line] = []
        self._wide = False

    @property
    def number(self) -> int | None:
        """Whose change is drawn."""
        return self._shown[0] if self._shown else None

    def compose(self) -> ComposeResult:
        yield Static(id="hypothesis")
        yield Static(id="diff")

    def show(self, number: int | None, hypothesis: str, diff: str, warning: str = "") -> None:
        """Another proposal, or none yet."""
        if number is None:
            self._shown = None
            self.query_one("#hypothesis", Static).update("No proposal yet.")
            self.query_one("#diff", Static).update("")
            return
        key, before = (number, hypothesis, diff, warning), self._shown
        if key == before:
            return
        self._shown = key
        self._lines = diffs.parse(diff)
        self._draw()
        if before is None or before[:3] != key[:3]:
            self.scroll_home(animate=False)

    def tell(self, number: int | None, verdict: str, waiting: Waiting | None) -> None:
        """The title: whose change this is, and whether it waits."""
        asks = waiting is not None and waiting.number == number
        self.set_class(asks, "-asks")
        if number is None:
            self.head()
            return
        added, removed = diffs.count(self._lines)
        right = f"+{added} −{removed}" if self._lines else ""
        if asks and waiting is not None:
            left = "clock held" if waiting.held else f"approved in {words.clock(waiting.left_s)}"
            self.head(f"change · #{number} waits for you · {left}", right)
        else:
            self.head(f"change · #{number} {verdict}", right)

    def _draw(self) -> None:
        width = self.scrollable_content_region.width
        _, hypothesis, _, warning = self._shown or (0, "", "", "")
        short = words.sanitize_line(
            hypothesis, max(60, width * HYPOTHESIS_LINES - 8)
        )  # the detail screen has all of it
        self._put("#hypothesis", Content.assemble((warning and f"{warning}\n", "$warning"), short))
        self._put("#diff", diffs.render(self._lines, width))
        self._wide = diffs.wide(self._lines, width)

    def _put(self, where: str, content: Content) -> None:
        """Only another height moves anything else."""
        box = self.query_one(where, Static)
        width, height = box.size
        box.update(content, layout=not width or content.get_height(box.styles.get_rules(), width) != height)

    def on_resize(self, event: events.Resize) -> None:
        del event
        if self._shown is not None:
            self._draw()
