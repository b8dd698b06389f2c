"""Text that others wrote, as it may stand in a prompt. Pure."""

from __future__ import annotations

import re

from core.text import sanitize_line

BEGIN, END = "----- data begins -----", "----- data ends -----"
SHORT = 120  # characters of a line in a list


def data(text: str, limit: int = SHORT) -> str:
    """Return untrusted text as one line without data marks and without tokens that begin or end a turn."""
    words = re.sub(r"-{4,}", "---", sanitize_line(text, limit))
    return re.sub(r"\[(/?INST)\]", r"(\1)", words.replace("<", "‹").replace(">", "›"))
