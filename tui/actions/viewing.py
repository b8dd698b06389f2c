"""Actions that only change the view: panes, the table, the detail screen, and pages of text."""

from __future__ import annotations

from textual.screen import Screen

from core.reporting import status
from core.run.applied import is_applied
from core.run.reading import report_files
from tui import keys, run_files
from tui.actions.next_steps import NextStepActions
from tui.panes import registry
from tui.panes.change import ChangePane
from tui.panes.experiments import ExperimentsPane
from tui.panes.loss import LossPane
from tui.screens.detail import DetailScreen
from tui.screens.help import HelpScreen
from tui.screens.summary import SUMMARY, Contents, SummaryPane, SummaryScreen
from tui.view.night import night_picture
from tui.widgets.diff_text import DiffText
from tui.widgets.prompt import Prompt

FOLLOW = "There is nothing to leave. In the table, g follows the newest experiment again."


class ViewingActions(NextStepActions):
    """The digits, and the keys enter, /, f, >, v, F, L, z, escape and ?."""

    def action_pane(self, number: int) -> None:
        if self.key_context.tiny:
            self.show_note(keys.LARGER)
            return
        self.main.focus_pane(number)
        if number == SummaryPane.NUMBER:
            self.open_summary()

    def action_zoom(self) -> None:
        self.main.toggle_zoom()
        self.refresh_keys()

    async def action_back(self) -> None:
        if self.main.is_zoomed:
            self.action_zoom()
        elif not self.query_one(ExperimentsPane).show_all() and self.selection.chosen is not None:
            self.show_note(FOLLOW, seconds=3)

    def action_details(self) -> None:
        if self.followed is not None:
            self.open_details(self.followed.number)

    def action_explain(self) -> None:
        if not isinstance(self.screen, HelpScreen):
            self.open_page(HelpScreen((*registry.ENTRIES, SUMMARY)))

    def action_pin(self) -> None:
        """Keep the curve of the selected experiment in the loss pane, or remove it."""
        if (followed := self.followed) is None:
            return
        state, folder = self.bridge.state, self.bridge.folder
        if followed.number not in self.selection.pinned and not run_files.metrics_path(state, folder, followed.commit):
            none = "no loss curve to keep" if followed.verdict is not None else "no whole curve yet"
            self.show_note(f"#{followed.number} has {none}.")
            return
        self.selection.pin(followed.number)
        self.updates.show_loss()
        others = [f"#{number}" for number in self.selection.pinned if number != followed.number]
        beside = f" Also kept: {', '.join(others)}." if others else ""
        if followed.number in self.selection.pinned:
            stays = (
                f"The curve of #{followed.number} stays in pane {LossPane.NUMBER} when you select another experiment."
            )
            self.show_note(f"{stays} v again removes it.{beside}")
        else:
            self.show_note(f"The curve of #{followed.number} is no longer kept.{beside}")

    def action_fold(self) -> None:
        """Fold the shown change, whichever pane has the focus."""
        diff = self.main.query_one(ChangePane).query_one(DiffText)
        diff.fold_all(not diff.is_folded)

    def on_diff_text_folded(self) -> None:
        self.updates.show_followed()

    def action_logarithmic(self) -> None:
        pane = self.query_one(LossPane)
        pane.logarithmic = not pane.logarithmic
        self.updates.show_loss()
        self._say_unless_empty(self.memory.save(logarithmic=pane.logarithmic))

    def restore_view(self) -> str:
        """Show the remembered log scale, filter and order. Returns a sentence about what the table shows, or ''."""
        view = self.memory.view
        self.query_one(LossPane).logarithmic = view.logarithmic
        shown = self.query_one(ExperimentsPane).restore(view.filter, view.sort)
        return f"As you left it, the table shows: {shown}. Escape shows all." if shown else ""

    def restore_theme(self) -> None:
        """Show the theme that was chosen last, and remember later choices."""
        if self.memory.theme in self.available_themes:
            self.theme = self.memory.theme
        self.theme_changed_signal.subscribe(
            self, lambda theme: self._say_unless_empty(self.memory.choose_theme(theme.name))
        )

    def on_experiments_pane_chose(self, event: ExperimentsPane.Chose) -> None:
        self._say_unless_empty(self.memory.save(filter=event.filter, sort=event.sort))

    def _say_unless_empty(self, problem: str) -> None:
        if problem:
            self.show_note(problem, wrong=True, seconds=10.0)

    def action_sort(self) -> None:
        self.query_one(ExperimentsPane).next_sort()

    def action_filter(self) -> None:
        self.query_one(ExperimentsPane).next_filter()

    def action_search(self) -> None:
        table = self.query_one(ExperimentsPane)
        before = table.searched

        def done(text: str | None) -> None:
            table.focus()
            table.search(before if text is None else text)

        self.query_one(Prompt).ask("search", done, typed=table.search)

    def open_details(self, number: int) -> None:
        """Open the detail screen. When it closes, the cursor moves to the experiment that was shown last."""
        if self.key_context.unreadable:
            return
        table = self.query_one(ExperimentsPane)

        def back(last: int | None) -> None:
            if last is not None:
                table.select(last)
            self.call_after_refresh(self.refresh_keys)

        self.clear_old_notes()
        self.push_screen(DetailScreen(self.bridge, table.numbers, number), back)
        self.call_after_refresh(self.refresh_keys)

    def open_page(self, page: Screen[None]) -> None:
        """Show a page of text."""

        def back(_: None) -> None:
            self.updates.show_status()  # the terminal may have been resized
            self.call_after_refresh(self.refresh_keys)

        self.clear_old_notes()
        self.push_screen(page, back)

    def open_summary(self) -> None:
        """Show the summary of the run, unless it is open already, the terminal is too small, or the run has no header yet."""
        if self.updates.noise is not None and not self.main.is_tiny and not isinstance(self.screen, SummaryScreen):
            self.open_page(SummaryScreen(self._summary))

    def _summary(self) -> Contents:
        """Return the present contents of the summary."""
        bridge, noise = self.bridge, self.updates.noise
        assert noise is not None
        warnings = [bridge.trouble] if bridge.trouble else []
        applied = bool(bridge.state.kept) and is_applied(bridge.program.parent, bridge.folder)
        return Contents(
            status=status.status(
                bridge.state,
                noise,
                bridge.pid,
                bridge.live,
                warnings,
                applied=applied,
                files=report_files(bridge.folder),
            ),
            night=night_picture(bridge.state, noise),
            diff=run_files.read_whole_diff(bridge.folder),
            steps=self.next_steps(),
        )
