"""program.md as the agent reads it, and what was understood of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Markdown, Static

from tui.panes.base import Pane


class ProgramPane(Pane):
    """Rendered Markdown, with the understanding below."""

    NUMBER: ClassVar[int] = 1
    NAME: ClassVar[str] = "program.md"
    ABOUT: ClassVar[str] = (
        "Your charter: what to research and what to leave alone. `m` edits it; the next proposal uses it."
    )

    def compose(self) -> ComposeResult:
        yield Static(id="understood")
        yield Markdown(id="charter", open_links=False)

    async def show(self, text: str) -> None:
        """The file changed, or is shown for the first time."""
        await self.query_one(Markdown).update(_body(text))

    def tell(self, used_from: int | None, changed: bool, understood: Sequence[str], problem: str) -> None:
        """Which experiments used this text, and what the loop makes of it."""
        if changed:
            self.head("program.md", "changed, used with the next proposal")
        else:
            self.head("program.md", f"used from #{used_from}" if used_from else "")
        words = [Content.assemble(("Understood: ", "bold"), Content("; ".join(understood)))] if understood else []
        if problem:
            words.append(Content.styled(problem, "$error"))
        box = self.query_one("#understood", Static)
        box.display = bool(words)
        box.update(Content("\n").join(words))


def _body(text: str) -> str:
    """Without the front matter, which is for the loop."""
    if text.startswith("---\n") and "\n---\n" in text[4:]:
        return text[4:].split("\n---\n", 1)[1]
    return text
