"""Texts that the user writes in an editor: program.md, and drafts of train.py that are kept until the loop has taken them."""

from __future__ import annotations

from pathlib import Path

from core.run import commands
from tui.actions.base import RunApp
from tui.system import editor


class EditingActions(RunApp):
    """What the actions share that open an editor."""

    def run_editor(self, path: Path, line: int = 1) -> str:
        """Edit a file while the app is suspended. Returns what went wrong, in a sentence, or ''."""
        problem = ""
        with self.suspend():  # it does not give the terminal back after an exception
            try:
                editor.edit(path, line)
            except editor.NoEditor as error:
                problem = str(error)
        return problem

    def edit_draft(self, original: Path, draft: Path, key: str, line: int = 1) -> str | None:
        """Let the user change a copy of a file, which may have been begun before. Returns the text, or None where there is none.

        The copy is deleted where it is empty or says the same as the original. Otherwise it is kept, and `key` opens it again.
        """
        try:
            before = original.read_text(encoding="utf-8-sig")
            if not draft.exists():
                draft.write_text(before, encoding="utf-8")
            problem = self.run_editor(draft, line)
            after = draft.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            self.show_note(f"{draft} cannot be edited ({error}).", wrong=True, seconds=10)
            return None
        if after.strip() and after != before:
            if not problem:
                return after
            self.show_note(f"{problem} {draft_note(draft, key)}", wrong=True, seconds=10)
            return None
        draft.unlink(missing_ok=True)
        self.show_note(problem or ("Nothing was changed." if after.strip() else "The text was empty and is dropped."))
        return None

    async def submit_draft(self, command: commands.Command, draft: Path, key: str, held: int | None) -> None:
        """Send a command with a text, and let the clock of proposal `held` go on. The draft is only deleted once the loop has it."""
        try:
            if await self.send_command(command, on_refusal=draft_note(draft, key)):
                _delete(draft)
        finally:
            self.hold_clock(held, held=False)


def _delete(draft: Path) -> None:
    draft.unlink(missing_ok=True)


def draft_note(draft: Path, key: str) -> str:
    """Where a draft is, and how to go on with it."""
    return f"Your text is kept in {draft}; {key} opens it again. Emptied, it is dropped."
