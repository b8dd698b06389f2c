"""The action to propose an own experiment."""

from __future__ import annotations

from pathlib import Path

from core.change import edits
from core.run import commands
from tui.actions.editing import EditingActions, draft_note, own_draft


class OwnChangeActions(EditingActions):
    """The key E."""

    async def action_own(self) -> None:
        draft, parent = self._own_draft()
        async with self.editing():
            source = self.edit_draft(self.bridge.folder / "train.py", draft, "E")
        if source is None:
            return
        try:
            edits.check(source)
        except edits.EditError as error:
            self.show_note(f"{error} {draft_note(draft, 'E')}", wrong=True, seconds=10)
            return

        def done(hypothesis: str | None) -> None:
            if hypothesis is None:
                self.show_note(f"Not started. {draft_note(draft, 'E')}", seconds=10)
            else:
                command = commands.Own(parent=parent, source=source, hypothesis=hypothesis.strip())
                self.run_worker(self.submit_draft(command, draft, "E"), exit_on_error=False)

        self.ask_for_line("hypothesis of your experiment", done)

    def _own_draft(self) -> tuple[Path, str]:
        """Return the path of an existing or new draft, and the commit that it is based on, which is part of its name."""
        folder, incumbent = self.bridge.folder, self.bridge.state.incumbent
        for commit in reversed(self.bridge.state.commits):
            if (draft := own_draft(folder, commit)).exists():
                return draft, commit
        return own_draft(folder, incumbent), incumbent
