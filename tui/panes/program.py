"""program.md as the agent reads it, and what was understood of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from markdown_it import MarkdownIt
from rich import markdown
from rich.console import Console, ConsoleOptions, RenderResult
from rich.default_styles import DEFAULT_STYLES
from rich.padding import Padding
from rich.theme import Theme
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from tui.view import words
from tui.widgets.pane import Pane


class ProgramPane(Pane):
    """Rendered Markdown, with the understanding above."""

    NUMBER: ClassVar[int] = 1
    NAME: ClassVar[str] = "program.md"
    ABOUT: ClassVar[str] = (
        "Your charter: what to research and what to leave alone. `m` edits it; the next proposal uses it."
    )

    def __init__(self) -> None:
        super().__init__()
        self._text = ""

    def compose(self) -> ComposeResult:
        yield Static(id="trouble")
        yield Static(id="charter")
        yield Static(id="understood")
        yield Static(id="proposed")

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self.show(self._text))

    def show(self, text: str) -> None:
        """The file changed, or is shown for the first time."""
        self._text = text
        self.query_one("#charter", Static).update(_Charter(words.sanitize_text(_body(text)), self.app.theme_variables))

    def tell(
        self, used_from: int | None, changed: bool, understood: Sequence[str], warnings: Sequence[str], problem: str
    ) -> None:
        """Which experiments used this text, and what the loop makes of it: above it what a human must know, below it the rest."""
        if problem:
            self.head("program.md", "cannot be used")
        elif changed:
            self.head("program.md", "changed, used next")
        else:
            self.head("program.md", f"used from #{used_from}" if used_from else "")
        trouble = problem or "\n".join(warnings)
        self._put("#trouble", Content.styled(trouble, "$error" if problem else "$warning"))
        words = "; ".join(understood)
        self._put("#understood", Content.assemble(("Understood: ", "bold"), words) if words else Content(""))

    def propose(self, proposals: Sequence[tuple[str, str]]) -> None:
        """The limits that the prose seems to ask for, as (line of front matter, sentence)."""
        if not proposals:
            self._put("#proposed", Content(""))
            return
        rows = [Content.styled("Proposed, not enforced (P adopts one):", "bold $warning")]
        rows += [Content.assemble((line, "bold"), f"  “{sentence}”") for line, sentence in proposals]
        self._put("#proposed", Content("\n").join(rows))

    def _put(self, where: str, content: Content) -> None:
        box = self.query_one(where, Static)
        box.display = bool(content.plain)
        box.update(content)


class _Heading(markdown.Heading):
    LEVEL_ALIGN: ClassVar = {}  # all at the left


class _Code(markdown.CodeBlock):
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Padding(self.text, (0, 2))


class _Markdown(markdown.Markdown):
    elements: ClassVar = {
        **markdown.Markdown.elements, "heading_open": _Heading, "fence": _Code, "code_block": _Code
    }  # fmt: skip

    def __init__(self, text: str) -> None:
        super().__init__(text, hyperlinks=False)
        self.parsed = (
            MarkdownIt("commonmark", {"html": False}).enable("table").parse(text)
        )  # the agent reads tags as text


class _Charter:
    """Markdown in the app's colours, as one renderable: a widget for each paragraph makes every change of focus slow."""

    def __init__(self, text: str, variables: Mapping[str, str]) -> None:
        accent = variables.get("accent", "")
        styles = {name: "none" for name in DEFAULT_STYLES if name.startswith("markdown.")}
        styles |= {f"markdown.h{level}": f"bold {accent if accent.startswith('#') else ''}" for level in range(1, 7)}
        styles |= {
            "markdown.strong": "bold",
            "markdown.em": "italic",
            "markdown.code": "bold",
            "markdown.link": "underline",
        }
        self._theme = Theme(styles)
        self._text = _Markdown(text)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with console.use_theme(self._theme):
            yield from list(console.render(self._text, options))


def _body(text: str) -> str:
    """Without the front matter, which is for the loop."""
    if "---" not in text:
        return text
    from core.charter.front_matter import CharterError, split  # YAML is slow to import

    try:
        return split(text).body
    except CharterError:
        return text
