"""The lines of a text of `core.reporting` in colours."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from core.reporting import phrases
from core.reporting.summary import Line, Tone
from tui.view import words

STYLES: dict[Tone, str] = {
    "": "", "strong": "bold", "dim": "$foreground 60%", "good": "$success", "bad": "$text-error", "warn": "$warning",
}  # fmt: skip


def content(lines: Sequence[Line]) -> Content:
    """Return lines in the colours of their tones."""
    return Content("\n").join(
        Content.assemble(*((phrases.typeset(words.sanitize_text(span.text)), STYLES[span.tone]) for span in line))
        for line in lines
    )
