"""Restatement of program.md by a language model: the schema, and the answer as lines for a human. Pure."""

from __future__ import annotations

import re
from typing import Any

from core.agents.llm import thoughts
from core.agents.llm.json_objects import Schema, objects_in
from core.change.edits import NotRead
from core.charter import CharterError, binding
from core.text import sanitize_line

_STRINGS = {"type": "array", "items": {"type": "string", "maxLength": 160}, "maxItems": 6}
_LIMITS = {
    "type": "object",
    "properties": {
        "max_params": {"type": ["integer", "null"]},
        "max_memory_gb": {"type": ["number", "null"]},
        "off_limits": {"type": "array", "items": {"type": "string", "maxLength": 60}, "maxItems": 12},
    },
}
SCHEMA: Schema = {
    "type": "object",
    "properties": {"goals": _STRINGS, "directions": _STRINGS, "avoid": _STRINGS, "limits": _LIMITS},
    "required": ["goals", "directions", "avoid"],
}
RESTATED = ("goals", "directions", "avoid")
FIELD_NAMES = {*RESTATED, "limits", *_LIMITS["properties"]}
STAMMER = re.compile(r"([^\W\d_]\S{2,19})\1{3,}")  # a part of a word four times in a row


def restated_lines(text: str, charter: str = "") -> tuple[str, ...]:
    """Return a restatement as lines for a human, or () if it is not usable.

    Limits that the model found and that are not in the front matter are only proposed, with what the human has to do. A model
    that misreads a number must not make all experiments invalid.
    """
    try:
        found = thoughts.answers(text, objects_in(text, lambda found: not found.keys().isdisjoint(RESTATED)))
    except NotRead:
        return ()
    every = (_lines(content, charter) for _, _, content in reversed(found))
    return next((lines for lines in every if lines), ())


def _lines(content: dict[str, Any], charter: str) -> tuple[str, ...]:
    """Return one JSON object as lines."""
    lines = []
    for name in RESTATED:
        words = [sanitize_line(word, 160) for word in _strings(content.get(name)) if says_something(word)]
        if words:
            lines.append(f"{name}: {'; '.join(list(dict.fromkeys(words))[:6])}")
    if proposed := _proposed(content.get("limits"), charter):
        lines.append(
            f"proposed limits, not checked: {'; '.join(proposed)} (add them to the front matter of program.md to have them checked)"
        )
    return tuple(lines)


def says_something(text: str) -> bool:
    """Return whether a line has content. Small models may repeat field names or parts of words."""
    words = text.strip(" .:;").lower()
    return bool(words) and words not in FIELD_NAMES and not STAMMER.search(words)


def _proposed(given: object, charter: str) -> list[str]:
    """Return limits as lines of front matter, without those that it has already."""
    if not isinstance(given, dict):
        return []
    names = [
        sanitize_line(name, 60)
        for name in _strings(given.get("off_limits"))
        if re.fullmatch(r"[A-Za-z_][\w.]{0,39}", name)
    ]
    try:
        known = binding(charter)
    except CharterError:
        return []
    lines = []
    for name, bound in (("max_params", known.max_params), ("max_memory_gb", known.max_memory_gb)):
        value = given.get(name)
        if bound is None and isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e15:
            lines.append(f"{name}: {value:g}" if value < 1e6 else f"{name}: {int(value)}")
    fresh = [name for name in dict.fromkeys(names) if name not in known.off_limits]
    return lines + ([f"off_limits: [{', '.join(fresh[:12])}]"] if fresh else [])


def _strings(given: object) -> list[str]:
    return [word for word in given if isinstance(word, str)] if isinstance(given, list) else []
