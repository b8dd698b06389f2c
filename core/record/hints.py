"""Hints and reasons for skipping as text. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence

from core.record.experiment import Hint
from core.text import sanitize_line


def counted(hints: Sequence[Hint]) -> str:
    """Return a sentence with the number of hints."""
    if not hints:
        return "This run has none."
    return f"This run has hint{'s 1 to ' if len(hints) > 1 else ' '}{len(hints)}."


def line(hint: Hint) -> str:
    """Return a hint as a line: its number, its time and its text."""
    return f"{hint.number:>3}  {words(hint)}"


def words(hint: Hint) -> str:
    """Return a hint as a line without its number."""
    when = time.strftime("%H:%M", time.localtime(hint.t))
    why = f"why #{hint.skipped} was skipped: " if hint.skipped is not None else ""
    back = "  (taken back)" if hint.taken_back else ""
    unused = f"  ({unused_words(hint)})" if hint.unused and not back else ""
    return f"{when}  {why}{sanitize_line(hint.text, 500)}{unused}{back}"


def unused_words(hint: Hint) -> str:
    """Return why `search` does not use a hint that it cannot use, as a clause."""
    return f"not used by search: {sanitize_line(hint.unused, 300)}"
