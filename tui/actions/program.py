"""Actions on program.md: edit it, and adopt limits that its prose seems to ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.change import touched
from tui.actions.editing import EditingActions
from tui.screens.menu import Menu
from tui.view import words

if TYPE_CHECKING:
    from core.charter import Proposed


class ProgramActions(EditingActions):
    """The keys m and P."""

    async def action_program(self) -> None:
        await self.edit_in_place(self.bridge.program)

    def action_adopt(self) -> None:
        """Show the proposed limits with their sentences, and add the chosen one to the front matter."""
        from core.charter import CharterError, read  # YAML is slow to import

        program, names = self.bridge.program, self._names_in_train_py()
        try:
            proposals = read(program.read_text(encoding="utf-8-sig"), names).proposed
        except (OSError, UnicodeDecodeError, CharterError) as error:
            problem = str(error) if isinstance(error, CharterError) else f"{program} cannot be read ({error})."
            self.show_note(problem, wrong=True)
            return
        if not proposals:
            self.show_note("The text of program.md suggests no limit beyond those in its front matter.")
            return
        choices = [
            (
                str(index + 1) if index < 9 else "",
                str(index),
                f"{proposal.line}\n   from “{words.sanitize_line(proposal.sentence, 200)}”",
            )
            for index, proposal in enumerate(proposals)
        ]

        def done(choice: str | None) -> None:
            if choice is not None:
                self._adopt(proposals[int(choice)], names)

        self.push_screen(Menu("Enforce a limit? It goes into the front matter of program.md.", choices), done)

    def _adopt(self, proposal: Proposed, names: frozenset[str]) -> None:
        from core.charter.adopt import NotAdopted, adopt

        try:
            result = adopt(self.bridge.program, proposal, names)
        except NotAdopted as error:
            self.show_note(str(error), wrong=True, seconds=10)
        else:
            binding = " It applies to experiments that start from now on." if self.bridge.pid else ""
            self.show_note(f"{result}.{binding}", seconds=8)

    def _names_in_train_py(self) -> frozenset[str]:
        """Return the names in the best train.py, which limits may refer to."""
        try:
            return touched.names((self.bridge.folder / "train.py").read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError):
            return frozenset()
