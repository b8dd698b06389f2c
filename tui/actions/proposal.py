"""Actions on the waiting proposal: approve, skip, revise."""

from __future__ import annotations

from pathlib import Path

from core.run import commands
from tui import keys, run_files
from tui.actions.editing import EditingActions, draft_note
from tui.panes.change import ChangePane
from tui.panes.experiments import ExperimentsPane
from tui.view import diffs, words

VERBS = {"a": "approves", "s": "skips", "S": "asks why, and skips", "e": "edits"}  # what a key does


class ProposalActions(EditingActions):
    """The keys a, s, S and e."""

    def action_approve(self) -> None:
        if (number := self.waiting_number) is not None and self._is_on_screen(number, "a"):
            self.send_later(commands.Approve(number=number))

    def action_skip(self) -> None:
        if (number := self.waiting_number) is not None and self._is_on_screen(number, "s"):
            self.send_later(commands.Skip(number=number))

    def action_skip_why(self) -> None:
        if (number := self.waiting_number) is None or not self._is_on_screen(number, "S"):
            return

        def done(reason: str | None) -> None:
            if reason is not None:
                command = commands.Skip(number=number, reason=reason.strip())
                self.send_text(command, reason.strip(), place)

        place = f"S{number}"
        self.ask_for_line(f"why skip #{number}?", done, self.unsent.get(place, ""))

    async def action_revise(self) -> None:
        number = self.waiting_number
        if number is None or not self._is_on_screen(number, "e"):
            return
        async with self.editing():
            source, draft, parent = await self._edit_proposal(number)
        if source is None:
            return

        def done(hypothesis: str | None) -> None:
            if hypothesis is None:
                self.show_note(f"Nothing is revised. {draft_note(draft, 'e')}", seconds=10)
                return
            command = commands.Revise(number=number, source=source, hypothesis=hypothesis.strip(), parent=parent)
            self.run_worker(self.submit_draft(command, draft, "e"), exit_on_error=False)

        experiment = self.bridge.state.experiments.get(number)
        hypothesis = words.sanitize_line(experiment.hypothesis, 1000) if experiment else ""
        self.ask_for_line("what does it try now?", done, hypothesis)

    async def _edit_proposal(self, number: int) -> tuple[str | None, Path, str]:
        """Let the user edit a proposal. Returns the new text or None, the path of the draft, and the commit that it changes."""
        folder = self.bridge.folder
        draft, parent = self._kept_revision(number) or await self._new_revision(number)
        original = run_files.experiment_folder(folder, number) / "train.py"
        line = diffs.first_line(run_files.read_diff(folder, number))
        return self.edit_draft(original, draft, "e", line), draft, parent

    def _kept_revision(self, number: int) -> tuple[Path, str] | None:
        """Return the draft of an earlier revision, and the commit that it changes, which is part of its name. None without a draft."""
        for draft in sorted(self.bridge.folder.glob(f"revised-{number}-*.py")):
            start = draft.stem.rpartition("-")[2]
            if parent := next((commit for commit in self.bridge.state.known if commit.startswith(start)), ""):
                return draft, parent
        return None

    async def _new_revision(self, number: int) -> tuple[Path, str]:
        """Return the path of a new draft, and the commit that it changes.

        The loop first re-applies the proposal to the best, so that the user does not edit an outdated text. If that is not possible,
        the user edits the proposal as it is.
        """
        reply = await self.bridge.send(commands.Reapply(number=number))
        experiment = self.bridge.state.experiments.get(number)
        parent = reply.offer.parent if reply.offer is not None else experiment.parent if experiment is not None else ""
        return self.bridge.folder / f"revised-{number}-{parent[:12]}.py", parent

    def _is_on_screen(self, number: int, key: str) -> bool:
        """Return whether a proposal is on the screen, so that the user may decide on it. If not, show it."""
        if self.detailed_number is not None:
            if self.detailed_number != number:
                ignored = f" {self.stray.expect(key)}" if key == "S" else ""
                self.show_note(f"{keys.ANOTHER_WAITS}{ignored}")
            return self.detailed_number == number
        if self.main.is_tiny:
            if self.main.tiny_proposal != number and key == "S":
                self.stray.expect(key)
            return self.main.tiny_proposal == number
        change = self.main.query_one(ChangePane)
        is_selected = self.followed is not None and self.followed.number == number
        if is_selected and number == self.drawn_number and (change.display or self.query_one(ExperimentsPane).display):
            return True
        if not is_selected:
            self.follow_newest()
        if not change.display:
            change.focus()
        ignored = f" {self.stray.expect(key)}" if key == "S" else ""
        self.show_note(f"This is #{number}, which waits for you. {key} again {VERBS[key]} it.{ignored}")
        return False
