"""Actions on the waiting proposal: approve, skip, revise."""

from __future__ import annotations

from pathlib import Path

from core.run import commands
from tui import keys, run_files
from tui.actions.editing import EditingActions, draft_note
from tui.view import diffs, words


class ProposalActions(EditingActions):
    """The keys a, s, S and e."""

    def action_approve(self) -> None:
        if (number := self.waiting_number) is not None and self._is_on_screen(number, "a"):
            self.send_later(commands.Approve(number=number))

    def action_skip(self) -> None:
        if (number := self.waiting_number) is not None and self._is_on_screen(number, "s"):
            self.send_later(commands.Skip(number=number))

    def action_skip_why(self) -> None:
        if (number := self.waiting_number) is None:
            return

        def done(reason: str | None) -> None:
            if reason is None:
                self.hold_clock(number, held=False)
            else:
                self.send_later(commands.Skip(number=number, reason=reason.strip()))

        self.hold_clock(number, held=True)
        self.ask_for_line(f"why skip #{number}?", done)

    async def action_revise(self) -> None:
        number = self.waiting_number
        if number is None or not await self.send_command(self.hold_command(number, True), quiet=True):
            return
        folder = self.bridge.folder
        draft, parent = self._kept_revision(number) or await self._new_revision(number)
        original = run_files.experiment_folder(folder, number) / "train.py"
        line = diffs.first_line(run_files.read_diff(folder, number))
        source = self.edit_draft(original, draft, "e", line)
        if source is None:
            self.hold_clock(number, held=False)
            return

        def done(hypothesis: str | None) -> None:
            if hypothesis is None:
                self.show_note(f"Nothing is revised. {draft_note(draft, 'e')}", seconds=10)
                self.hold_clock(number, held=False)
                return
            command = commands.Revise(number=number, source=source, hypothesis=hypothesis.strip(), parent=parent)
            self.run_worker(self.submit_draft(command, draft, "e", number), exit_on_error=False)

        experiment = self.bridge.state.experiments.get(number)
        hypothesis = words.sanitize_line(experiment.hypothesis, 1000) if experiment else ""
        self.ask_for_line("what does it try now?", done, hypothesis)

    def _kept_revision(self, number: int) -> tuple[Path, str] | None:
        """Return the draft of an earlier revision, and the commit that it changes, which is part of its name. None if there is none."""
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
                self.show_note(keys.ANOTHER_WAITS)
            return self.detailed_number == number
        if self.followed is not None and self.followed.number == number == self.drawn_number:
            return True
        self.follow_newest()
        verb = "approves" if key == "a" else "skips"
        self.show_note(f"This is #{number}, which waits for you. {key} again {verb} it.")
        return False
