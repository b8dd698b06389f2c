"""What the human told the agents of a run, as text: hints and reasons for skipping, which can be taken back. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence

from core.record.experiment import Said
from core.text import sanitize_line


def counted(said: Sequence[Said]) -> str:
    """Say how many there are."""
    if not said:
        return "This run has none."
    return f"This run has hint{'s 1 to ' if len(said) > 1 else ' '}{len(said)}."


def line(said: Said) -> str:
    """One of them as a line: its number, when it was said, its words."""
    return f"{said.number:>3}  {words(said)}"


def words(said: Said) -> str:
    """The same without its number."""
    when = time.strftime("%H:%M", time.localtime(said.t))
    why = f"why #{said.skipped} was skipped: " if said.skipped is not None else ""
    back = "  (taken back)" if said.taken_back else ""
    return f"{when}  {why}{sanitize_line(said.text, 500)}{back}"
