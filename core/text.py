"""Sanitized text: no escape sequence or invisible direction mark reaches a terminal. Pure."""

from __future__ import annotations

import io
import unicodedata


def sanitize_line(text: str, limit: int = 2000) -> str:
    """One line: no control or invisible characters, white space as single spaces, bounded length."""
    words = text[: limit * 4]
    if not words.isprintable():  # most are, and ten thousand of them are cleaned at once
        words = "".join(" " if c.isspace() else c for c in words)
        words = "".join(c for c in words if unicodedata.category(c)[0] != "C")
    words = " ".join(words.split())
    return words if len(words) <= limit else words[: limit - 1] + "…"


def sanitize_text(text: str, limit: int = 100_000) -> str:
    """The same for text of several lines; indentation stays."""
    kept = text[:limit].expandtabs(4)
    return "".join(c for c in kept if c == "\n" or unicodedata.category(c)[0] != "C")


def lines_of(source: str) -> list[str]:
    """The lines of a Python source, with their ends, as Python and git count them.

    `str.splitlines` also breaks at form feeds and at some Unicode separators, which shifts every line number behind one.
    """
    return io.StringIO(source, newline="").readlines()
