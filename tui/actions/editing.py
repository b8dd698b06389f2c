"""Edit texts in the user's editor. Drafts of train.py are kept until the loop has accepted them."""

from __future__ import annotations

from pathlib import Path

from core.run import commands
from tui.actions.base import RunApp
from tui.system import editor

MARKER = "<<<<<<< "  # of a conflict, as git writes it


class EditingActions(RunApp):
    """The base class of actions that open an editor."""

    def run_editor(self, path: Path, line: int = 1) -> str:
        """Edit a file while the app is suspended. Returns an error message, or ''."""
        problem = ""
        with self.suspend():  # does not restore the app after an exception, so none may leave it
            try:
                editor.edit(path, line)
            except editor.NoEditor as error:
                problem = str(error)
        return problem

    async def edit_in_place(self, path: Path) -> bool:
        """Let the user edit a file that takes effect when it is saved.

        Returns:
            Whether it was changed by an editor that did not fail. If not, a note says so.
        """
        try:
            before = _content(path)
            async with self.editing():
                problem = self.run_editor(path)
            if problem:
                self.show_note(f"{problem} {path} is as it left it.", wrong=True, seconds=10)
            elif _content(path) == before:
                self.show_note("Nothing was changed.", seconds=3)
            else:
                return True
        except OSError as error:
            self.show_note(f"{path} cannot be read ({error.strerror}).", wrong=True)
        return False

    def edit_draft(self, original: Path, draft: Path, key: str, line: int = 1) -> str | None:
        """Let the user edit a copy of a file, or go on with an earlier one.

        The draft is deleted if it is empty or equal to the original. Otherwise it is kept.

        Args:
            original: The file to copy.
            draft: The copy.
            key: The key that opens the draft again, for messages.
            line: The line to open it at, from 1.

        Returns:
            The new text, or None if there is none or editing failed.
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

    async def submit_draft(self, command: commands.Command, draft: Path, key: str) -> None:
        """Send a command with a draft.

        The draft is deleted if the loop accepted it. If it could not be merged, the loop offers a text for an own experiment, which
        replaces the draft.
        """
        reply = await self.bridge.send(command)
        if reply.ok:
            _delete(draft)
        self.show_reply(reply, "" if reply.ok else self._keep(reply.offer, draft, key))

    def _keep(self, offer: commands.Offer | None, draft: Path, key: str) -> str:
        """Keep a text that the loop refused. Returns where it is and how to go on with it."""
        own = own_draft(self.bridge.folder, offer.parent) if offer is not None else None
        if (
            offer is None or not offer.source.strip() or own is None or own.exists()
        ):  # another text of the user is there
            return draft_note(draft, key)
        try:
            own.write_text(offer.source, encoding="utf-8")
        except OSError:
            return draft_note(draft, key)
        _delete(draft)
        both = " Where both changed the same lines, both versions are between <<<<<<< and >>>>>>>."
        return f"{draft_note(own, 'E')}{both if MARKER in offer.source else ''}"


def _content(path: Path) -> bytes:
    """Return what a file contains, or b"" if it does not exist."""
    return path.read_bytes() if path.exists() else b""


def own_draft(folder: Path, commit: str) -> Path:
    """Return the path of the draft of an own experiment that changes the train.py of a commit."""
    return folder / f"own-{commit[:12]}.py"


def _delete(draft: Path) -> None:
    draft.unlink(missing_ok=True)


def draft_note(draft: Path, key: str) -> str:
    """Return where a draft is and how to go on with it."""
    return f"Your draft is kept in {draft}. Press {key} to edit it again. To discard it, save an empty file."
