"""Render Markdown with Rich in the colours of the app's theme."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from markdown_it import MarkdownIt
from rich import markdown
from rich.console import Console, ConsoleOptions, RenderResult
from rich.default_styles import DEFAULT_STYLES
from rich.padding import Padding
from rich.theme import Theme


class _Heading(markdown.Heading):
    LEVEL_ALIGN: ClassVar = {}  # all headings are left-aligned


class _Code(markdown.CodeBlock):
    """A block of code on the background of the pane."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Padding(self.text, (0, 2))


class _Markdown(markdown.Markdown):
    elements: ClassVar = {
        **markdown.Markdown.elements, "heading_open": _Heading, "fence": _Code, "code_block": _Code
    }  # fmt: skip

    def __init__(self, text: str) -> None:
        super().__init__(text, hyperlinks=False)
        # HTML tags are shown as text, as the agent reads them.
        self.parsed = MarkdownIt("commonmark", {"html": False}).enable("table").parse(text)


class ThemedMarkdown:
    """Markdown as one renderable. Textual's Markdown has a widget for each paragraph, which makes changes of focus slow."""

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
