"""Splits a Markdown text into sentences with the headings above them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

from core.charter.front_matter import without_comments

OPAQUE = {"fence", "code_block", "html_block"}  # blocks without text of their own
NESTED = {"blockquote_open": 1, "blockquote_close": -1, "table_open": 1, "table_close": -1}
ITEMS = {"list_item_open": 1, "list_item_close": -1}


@dataclass(frozen=True)
class Block:
    """A paragraph, a list item, or something that is not plain text.

    Attributes:
        sentences: Its sentences, each as one line; () for a quotation, a table, code and HTML.
        sections: Numbers of the sections that contain it: 0 for the whole text, then by level, the innermost last.
        headings: The headings above it, by level, the innermost last.
        lead: The last paragraph above it in its section that is one sentence ending with a colon; '' for none.
        item: Whether it is in a list.
        plain: Whether it is plain text. False also after HTML, which may strike out or hide later text.
    """

    sentences: tuple[str, ...]
    sections: tuple[int, ...]
    headings: tuple[str, ...]
    lead: str = ""
    item: bool = False
    plain: bool = True

    @property
    def leads_in(self) -> bool:
        """Whether it introduces the next block."""
        return not self.item and len(self.sentences) == 1 and self.sentences[0].endswith(":")


@dataclass(frozen=True)
class _Section:
    """An open section: its level, its number and its heading."""

    level: int
    number: int
    heading: str


def blocks(markdown: str) -> Iterator[Block]:
    """Yield the paragraphs and list items of a text in order, and a block without sentences for everything else."""
    tokens = MarkdownIt("commonmark").enable("table").parse(without_comments(markdown))
    path: list[_Section] = []
    lead, html = "", False
    nested = items = count = 0
    for index, token in enumerate(tokens):
        before, nested = nested, nested + NESTED.get(token.type, 0)
        items += ITEMS.get(token.type, 0)
        html = html or token.type == "html_block" or any(part.type == "html_inline" for part in token.children or ())
        text = token.type == "inline" and not nested
        if not (text or token.type in OPAQUE or nested > before == 0):
            continue
        texts = sentences(_words(token)) if text else ()
        is_heading = text and tokens[index - 1].type == "heading_open"
        if is_heading and not items:
            count, level = count + 1, int(tokens[index - 1].tag[1:])
            path = [*(one for one in path if one.level < level), _Section(level, count, " ".join(texts))]
            lead = ""
        elif texts or not text:
            numbers, headings = (0, *(one.number for one in path)), tuple(one.heading for one in path)
            block = Block(texts, numbers, headings, lead, items > 0, text and not html and not is_heading)
            lead = texts[0] if block.leads_in else lead
            yield block


def _words(token: Token) -> str:
    """Return an inline text without emphasis marks. Code, links and images keep their marks."""
    parts = []
    for child in token.children or ():
        match child.type:
            case "text" | "html_inline":
                parts.append(child.content)
            case "code_inline":
                parts.append(f"`{child.content}`")
            case "softbreak" | "hardbreak":
                parts.append(" ")
            case "image":
                parts.append(f"![{child.content}]")
            case "link_open":
                parts.append("[")
            case "link_close":
                parts.append("]")
    return "".join(parts)


def sentences(text: str) -> tuple[str, ...]:
    """Split a text at the ends of sentences and lines."""
    parts = re.split(r"(?<=[.;!?…])\s+|[\r\n]+", text)
    return tuple(words for part in parts if (words := " ".join(part.split())))
