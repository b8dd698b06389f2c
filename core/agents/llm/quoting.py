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
# In code only what is a token or a mark for sure, since a model must copy the rest: 1<<20, a<b and long rules are not.
_TOKEN = re.compile(r"<(?=[|\uff5c]|/?(?:s|bos|eos|pad|unk|think)>|(?:start|end)_of_\w+>)", re.IGNORECASE)
_MARK = re.compile(
    r"-{4,}(?=[ \t]*data (?:begins|ends))|(?<=data begins)([ \t]*)-{4,}|(?<=data ends)([ \t]*)-{4,}", re.IGNORECASE
)


def data(text: str, limit: int = SHORT) -> str:
    """Return untrusted text as one line without data marks and without tokens that begin or end a turn."""
    words = _RULE.sub("---", sanitize_line(text, limit))
    return _INST.sub(r"(\1)", words.replace("<", "‹").replace(">", "›"))


def code(text: str) -> str:
    """Return untrusted code with its lines, without data marks and without tokens. All else stays as it is."""
    quoted = _MARK.sub(lambda match: f"{match[1] or match[2] or ''}---", sanitize_text(text))
    return _INST.sub(r"(\1)", _TOKEN.sub("‹", quoted))


def change(edits: tuple[Edit, ...], tier: Tier) -> str:
    """Return a change in the form of an answer."""
    shown = [(code(edit.search), code(edit.replace)) for edit in edits]
    if tier == "blocks":
        return "\n".join(f"<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE" for search, replace in shown)
    return json.dumps(
        {"edits": [{"search": search, "replace": replace} for search, replace in shown]}, ensure_ascii=False
    )
