"""The comparison of two runs: their facts, how their best has moved, what they kept, and what differs between the two train.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Vertical
from textual.content import Content
from textual.screen import ModalScreen

from core.errors import UserError, explained
from core.reporting import phrases, run_comparison
from core.reporting.run_comparison import RunFacts, RunPair, Step
from tui.system import colours
from tui.textual_internals import Static
from tui.view import diffs, spans, words
from tui.widgets.diff_text import DiffText
from tui.widgets.pane import SCROLL_KEYS, Pane
from tui.widgets.plot import Plot
from tui.widgets.progress_plot import Stairs, Unit, draw_progress

REFRESH_S = 5.0  # between two looks at whether a journal has grown
WIDE = 110  # columns from which the kept changes stand side by side
WIDEST = 130  # columns of the facts, above which the plot is beside them
GAP = 3  # columns between the kept changes
SIDES = ("first", "second")
TONES = ("primary", "accent")


class RunComparisonPane(Pane):
    """The scrolling page."""

    NUMBER: ClassVar[int] = 0
    NAME: ClassVar[str] = "comparison of two runs"


class RunComparisonScreen(ModalScreen[None]):
    """Compares two runs. Their journals are read in a thread, since long ones take a moment."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *SCROLL_KEYS,
        Binding("escape,q,c,enter", "dismiss", "back", priority=True),
        Binding("x", "other_axis", "time or trainings", priority=True),
        Binding("ctrl+c,ctrl+q", "app.detach", "detach", priority=True),
        Binding("question_mark", "app.explain", "help", priority=True),
    ]

    def __init__(self, names: tuple[str, str], read: Callable[[], RunPair | None]) -> None:
        """Prepare the screen.

        Args:
            names: The names of the runs.
            read: Called in a thread. Returns what to show; None if nothing has changed since the last call.
        """
        super().__init__()
        self._names, self._read = names, read
        self._found: RunPair | None = None
        self._unit: Unit = "time"

    def compose(self) -> ComposeResult:
        with RunComparisonPane() as page:
            page.set_title(f"comparison of {self._names[0]} and {self._names[1]}")
            yield Static("reading both journals …", id="runs-verdict")
            with Container(id="runs-top"):
                yield Static(id="runs-facts")
                with Vertical():
                    yield Static(id="runs-legend")
                    yield Plot(id="runs-progress")
            with Container(id="runs-kept"):
                for side in SIDES:
                    with Vertical():
                        yield Static(id=f"runs-{side}-title")
                        yield Static(id=f"runs-{side}-kept")
            yield Static(id="runs-between")
            yield DiffText(id="runs-diff")
        yield Static("escape back  j k scroll  x time or trainings  ← → long lines  ? help", id="page-keys")

    def on_mount(self) -> None:
        self.query_one(RunComparisonPane).focus()
        self.query_one(Plot).display = False
        self._refresh_page()
        self.set_interval(REFRESH_S, self._refresh_page)

    def on_resize(self, event: events.Resize) -> None:
        self.show()

    def action_other_axis(self) -> None:
        self._unit = "trainings" if self._unit == "time" else "time"
        self.show()

    def _refresh_page(self) -> None:
        self.run_worker(self._read_again(), exclusive=True, exit_on_error=True)

    async def _read_again(self) -> None:
        try:
            found = await asyncio.to_thread(self._read)
        except (UserError, OSError) as error:
            self._text("runs-verdict", Content.styled(words.sanitize_line(explained(error) or "", 400), "$warning"))
            return
        if found is not None:
            self._found = found
            self.show()

    def show(self) -> None:
        """Show what was read last."""
        if (found := self._found) is None:
            return
        page = self.query_one(RunComparisonPane)
        width = page.scrollable_content_region.width
        if width < 1:  # not laid out yet
            return
        columns = min(width, WIDEST)
        self._text("runs-verdict", spans.content([*run_comparison.verdict_lines(found.comparison, columns), ()]))
        self.query_one("#runs-top").set_class(width >= WIDEST + GAP, "-wide")
        room = (width - GAP) // 2 if width >= WIDEST + GAP else columns
        self._text("runs-facts", spans.content(list(run_comparison.fact_lines(found.comparison, room))))
        self._show_progress(found)
        self._show_kept(found, width)
        title = phrases.typeset(run_comparison.difference_title(found))
        self._text("runs-between", Content.assemble("\n", (title, "bold")))
        self.query_one(DiffText).show(diffs.parse(found.diff), width)
        self.on_diff_text_folded()

    def on_diff_text_folded(self) -> None:
        """Show in the title what the keys of the diff are."""
        title = f"comparison of {self._names[0]} and {self._names[1]}"
        self.query_one(RunComparisonPane).set_title(title, self.query_one(DiffText).notes)

    def _show_progress(self, found: RunPair) -> None:
        """Draw how both have moved, with a legend. Without any score, only the legend says so."""
        apart = colours.tell_curves_apart(self.app)
        plot = self.query_one(Plot)
        plot.display = any(found.progress)
        first, second = found.progress
        stairs = (Stairs(first, TONES[0], "" if apart else "·"), Stairs(second, TONES[1]))
        plot.show(lambda plot: draw_progress(plot, stairs, self._unit))
        parts: list[Content] = []
        for run, steps, mark, tone in zip(
            found.comparison.runs, found.progress, "━━" if apart else "·━", TONES, strict=True
        ):
            parts += [Content.assemble((f"{mark} ", f"${tone}" if steps else ""), _progress_name(run, steps), "   ")]
        unit = f"the best by {self._unit}; lower is better"
        gap = "" if self.query_one("#runs-top").has_class("-wide") else "\n"
        self._text("runs-legend", Content.assemble(gap, *parts, (unit, "$foreground 60%")))

    def _show_kept(self, found: RunPair, width: int) -> None:
        """Show the kept changes, side by side on a wide screen."""
        is_wide = width >= WIDE
        self.query_one("#runs-kept").set_class(is_wide, "-wide")
        columns = (width - GAP) // 2 if is_wide else width
        for side, run in zip(SIDES, found.comparison.runs, strict=True):
            kept = run.kept_changes
            title = f"{run.run} kept {phrases.count(len(kept), 'change')}" if kept else f"{run.run} kept nothing"
            self._text(f"runs-{side}-title", Content.assemble("\n", (title, "bold")))
            self._text(f"runs-{side}-kept", spans.content(list(run_comparison.kept_lines(kept, columns))))

    def _text(self, name: str, content: Content) -> None:
        self.query_one(f"#{name}", Static).update(content)


def _progress_name(run: RunFacts, steps: tuple[Step, ...]) -> str:
    """Return the name of a run with the last change of its best."""
    return f"{run.run} {words.change(steps[-1].change)}" if steps else f"{run.run} without a score"
