"""Text that people read."""

from __future__ import annotations


def printable(path: str) -> str:
    """Escape control characters and bytes that are not UTF-8, so that a path can be printed."""
    text = path.encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
