"""Text that is safe to print, without escape sequences and invisible direction marks, and which texts count as the same. Pure."""

from __future__ import annotations

import hashlib
import io
import unicodedata

BYTE_ORDER_MARK = "\ufeff"  # some editors write one


def sanitize_line(text: str, limit: int = 2000) -> str:
    """Return the text as one line of at most `limit` characters.

    Control and invisible characters are removed. White space becomes single spaces.
    """
    line = text[: limit * 4]
    if not line.isprintable():  # a quick check, since most text is printable
        line = "".join(" " if c.isspace() else c for c in line)
        line = "".join(c for c in line if unicodedata.category(c)[0] != "C")
    line = " ".join(line.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def sanitize_text(text: str, limit: int = 100_000) -> str:
    """Return the text without control and invisible characters. Line breaks and indentation stay."""
    kept = text[:limit].expandtabs(4)
    return "".join(c for c in kept if c == "\n" or unicodedata.category(c)[0] != "C")


def program_sha(text: str) -> str:
    """Return the identifier of a text of program.md, as journals have it: 12 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def lines_of(source: str) -> list[str]:
    """Return the lines of a Python source with their line ends, as Python and git count them.

    `str.splitlines` also breaks at form feeds and some Unicode separators, which shifts later line numbers.
    """
    return io.StringIO(source, newline="").readlines()


def capital(text: str) -> str:
    """Return words as they stand at the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def normalised(text: str) -> str:
    """Return a text without a byte order mark and carriage returns, which some editors add."""
    return text.removeprefix(BYTE_ORDER_MARK).replace("\r\n", "\n")
