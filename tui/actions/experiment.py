"""Actions on the selected experiment: run it again, overrule its verdict, copy its change."""

from __future__ import annotations

import asyncio

from core.run import commands
from core.verdicts import Verdict, may_overrule
from tui import run_files
from tui.actions.base import RunApp
from tui.screens.menu import Menu
from tui.system import clipboard
from tui.view import words

CHOICES = (("y", "keep", "yes, keep it"), ("d", "discard", "discard it"), ("r", "invalid", "it is invalid"))


class ExperimentActions(RunApp):
    """The keys r, o and y."""

    def action_rerun(self) -> None:
        if (target := self.target) is not None:
            self.send_later(commands.Rerun(number=target.number))

    def action_overrule(self) -> None:
        target = self.target
        if target is None or target.verdict is None:
            return
        number, old = target.number, target.verdict
        choices = [choice for choice in CHOICES if may_overrule(old, Verdict(choice[1]))]

        def done(choice: str | None) -> None:
            if choice is not None:
                self.send_later(commands.Overrule(number=number, verdict=Verdict(choice)))

        self.push_screen(Menu(f"#{number}: {words.verdict(target)}. Your verdict?", choices), done)

    async def action_copy(self) -> None:
        target = self.target
        if target is None:
            return
        path = run_files.diff_path(self.bridge.folder, target.number)
        try:
            diff = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            self.show_note(f"{path} cannot be read ({error.strerror}).", wrong=True)
            return
        if not await asyncio.to_thread(clipboard.copy_by_tmux, diff):
            self.copy_to_clipboard(diff)
        self.show_note(f"Copied the diff of #{target.number}; it is in {path}.", seconds=6)
