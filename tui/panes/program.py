"""The pane of program.md: its text, and how the loop understood it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.content import Content

from tui.textual_internals import Static
from tui.view import words
from tui.widgets.pane import Pane

MOST_IDEAS = 5  # of the backlog; an agent may take one of as many


class ProgramPane(Pane):
    """Shows problems of program.md, its text, what the loop understood, limits that it seems to ask for, and the backlog."""

    NUMBER: ClassVar[int] = 1
    NAME: ClassVar[str] = "program.md"

    def __init__(self) -> None:
        super().__init__()
        self._text = ""

    def compose(self) -> ComposeResult:
        yield Static(id="trouble")
        yield Static(id="charter")
        yield Static(id="understood")
        yield Static(id="proposed")
        yield Static(id="ideas")

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self.show(self._text))

    def show(self, text: str) -> None:
        """Show the text of the file."""
        from tui.widgets.markdown import ThemedMarkdown  # imported late: the first picture does not need it

        self._text = text
        body = words.sanitize_text(_without_front_matter(text))
        self.query_one("#charter", Static).update(ThemedMarkdown(body, self.app.theme_variables))

    def show_reading(
        self,
        used_from: int | None,
        changed: bool,
        ideas: Sequence[str],
        understood: Sequence[str],
        warnings: Sequence[str],
        problem: str,
    ) -> None:
        """Show how the loop understood the text.

        Args:
            used_from: The first experiment that used it; None if there is none.
            changed: Whether the loop has not read the current text yet.
            ideas: The untried ideas in the backlog, from the top.
            understood: Rules that the loop understood.
            warnings: Warnings about the text.
            problem: Why the loop cannot use the text, or ''.
        """
        use = f"used from #{used_from}" if used_from else ""
        use = "cannot be used" if problem else "changed, used next" if changed else use
        backlog = f"{len(ideas)} idea{'s' if len(ideas) != 1 else ''}" if ideas else ""
        self.set_title("program.md", " · ".join(words for words in (use, backlog) if words))
        trouble = problem or "\n".join(warnings)
        self._update_box("#trouble", Content.styled(trouble, "$error" if problem else "$warning"))
        summary = "; ".join(understood)
        self._update_box("#understood", Content.assemble(("Understood: ", "bold"), summary) if summary else Content(""))

        self._update_box("#ideas", _backlog(ideas))

    def show_proposed_limits(self, proposals: Sequence[tuple[str, str]]) -> None:
        """Show limits that the prose seems to ask for, as pairs (line of front matter, sentence)."""
        if not proposals:
            self._update_box("#proposed", Content(""))
            return
        rows = [Content.styled("Proposed, not enforced (P adopts one):", "bold $warning")]
        rows += [Content.assemble((line, "bold"), f"  “{sentence}”") for line, sentence in proposals]
        self._update_box("#proposed", Content("\n").join(rows))

    def _update_box(self, selector: str, content: Content) -> None:
        """Update one of the texts, and hide it if it is empty."""
        box = self.query_one(selector, Static)
        box.display = bool(content.plain)
        box.update(content)


def _backlog(ideas: Sequence[str]) -> Content:
    """Return the first ideas of the backlog, one a line, and how many follow; nothing without any."""
    if not ideas:
        return Content("")
    rows = [Content.styled("Next ideas (backlog.md):", "bold")]
    rows += [Content(f"{place} {words.sanitize_line(idea, 200)}") for place, idea in enumerate(ideas[:MOST_IDEAS], 1)]
    rows += [Content(f"and {len(ideas) - MOST_IDEAS} more")] if len(ideas) > MOST_IDEAS else []
    return Content("\n").join(rows)


def _without_front_matter(text: str) -> str:
    if "---" not in text:
        return text
    from core.charter.front_matter import CharterError, split  # YAML is slow to import

    try:
        return split(text).body
    except CharterError:
        return text
