"""The sentences of a Markdown text, with the heading that each stands under. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.token import Token

from core.charter.front_matter import without_comments

QUIET = {"blockquote_open": 1, "blockquote_close": -1, "table_open": 1, "table_close": -1}


@dataclass(frozen=True)
class Block:
    """One paragraph, or one item of a list. Code, tables, quotations and comments are none.

    Attributes:
        sentences: Its sentences, each on one line.
        heading: The heading above it, '' where there is none.
        alone: Whether it has no further paragraph or list below it in the same item.
    """

    sentences: tuple[str, ...]
    heading: str
    alone: bool


def blocks(markdown: str) -> Iterator[Block]:
    """Yield the paragraphs and items of a text, in order."""
    tokens = MarkdownIt("commonmark").enable("table").parse(without_comments(markdown))
    heading, quiet, items = "", 0, list[int]()
    children = _children(tokens)
    for index, token in enumerate(tokens):
        quiet += QUIET.get(token.type, 0)
        if token.type == "list_item_open":
            items.append(index)
        elif token.type == "list_item_close":
            items.pop()
        elif token.type == "inline" and not quiet:
            words = _words(token)
            if tokens[index - 1].type == "heading_open":
                heading = words
            elif found := sentences(words):
                yield Block(found, heading, not items or children[items[-1]] == 1)


def _children(tokens: list[Token]) -> dict[int, int]:
    """By the index of an item's opening: how many texts stand in it, in items below it too."""
    counts: dict[int, int] = {}
    open_items: list[int] = []
    for index, token in enumerate(tokens):
        if token.type == "list_item_open":
            open_items.append(index)
            counts[index] = 0
        elif token.type == "list_item_close":
            open_items.pop()
        elif token.type == "inline":
            for item in open_items:
                counts[item] += 1
    return counts


def _words(token: Token) -> str:
    """An inline text without its marks of emphasis; code keeps its backquotes, so that names can be told from words."""
    parts = []
    for child in token.children or ():
        match child.type:
            case "text":
                parts.append(child.content)
            case "code_inline":
                parts.append(f"`{child.content}`")
            case "softbreak" | "hardbreak":
                parts.append(" ")
            case "html_inline" | "image":
                parts.append(child.content or "<image>")
    return "".join(parts)


def sentences(text: str) -> tuple[str, ...]:
    """Split a text at the ends of its sentences and lines."""
    parts = re.split(r"(?<=[.;!?…])\s+|[\r\n]+", text)
    return tuple(words for part in parts if (words := " ".join(part.split())))
