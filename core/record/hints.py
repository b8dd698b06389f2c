"""Hints and reasons for skipping as text. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence

from core.record.experiment import Said
from core.text import sanitize_line


def counted(said: Sequence[Said]) -> str:
    """Return a sentence with the number of hints."""
    if not said:
        return "This run has none."
    return f"This run has hint{'s 1 to ' if len(said) > 1 else ' '}{len(said)}."


def line(said: Said) -> str:
    """Return a hint as a line: its number, its time and its text."""
    return f"{said.number:>3}  {words(said)}"


def words(said: Said) -> str:
    """Return a hint as a line without its number."""
    when = time.strftime("%H:%M", time.localtime(said.t))
    why = f"why #{said.skipped} was skipped: " if said.skipped is not None else ""
    back = "  (taken back)" if said.taken_back else ""
    return f"{when}  {why}{sanitize_line(said.text, 500)}{back}"
