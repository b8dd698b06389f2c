"""Shows a language model text that nobody vouches for: between two marks, which it cannot close. Pure."""

from __future__ import annotations

import json
import re

from core.agents.llm.formats import Tier
from core.model import Edit
from core.text import sanitize_line, sanitize_text

BEGIN, END = "----- data begins -----", "----- data ends -----"
SHORT = 120  # characters of a line in a list
_RULE, _INST = re.compile(r"-{4,}"), re.compile(r"\[(/?INST)\]")
_TOKEN = re.compile(r"<(?=[|/\w\uff5c])")  # begins a token such as <|im_end|>; a comparison in code has a space there


def data(text: str, limit: int = SHORT) -> str:
    """Return untrusted text as one line without data marks and without tokens that begin or end a turn."""
    words = _RULE.sub("---", sanitize_line(text, limit))
    return _INST.sub(r"(\1)", words.replace("<", "‹").replace(">", "›"))


def code(text: str) -> str:
    """Return untrusted code likewise, with its lines. Comparisons stay as they are."""
    return _INST.sub(r"(\1)", _TOKEN.sub("‹", _RULE.sub("---", sanitize_text(text))))


def change(edits: tuple[Edit, ...], tier: Tier) -> str:
    """Return a change in the form of an answer."""
    shown = [(code(edit.search), code(edit.replace)) for edit in edits]
    if tier == "blocks":
        return "\n".join(f"<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE" for search, replace in shown)
    return json.dumps(
        {"edits": [{"search": search, "replace": replace} for search, replace in shown]}, ensure_ascii=False
    )
