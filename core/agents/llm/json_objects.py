"""Finds JSON objects in the text of a language model, between prose or in a fence. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from core.agents.llm.thoughts import Found

Schema = dict[str, object]  # a JSON schema
MOST_OBJECTS = 200  # the most objects that are tried, counted from the end of the text
# Strings are skipped, even unterminated ones. Every match succeeds, so each character is read once.
_TRAILING_COMMA = re.compile(r"(\"(?:[^\"\\\n]|\\.)*+\"?)|,(?=\s*[}\]])")


def objects_in(text: str, fits: Callable[[dict[str, Any]], bool]) -> list[Found[dict[str, Any]]]:
    """Return the JSON objects that fit, also those with trailing commas. If none fits, return all, for an error message."""
    mended = _TRAILING_COMMA.sub(lambda match: match[1] or " ", text)  # of the same length
    objects = list(_objects(text, fits))
    if mended != text:
        stops = [(start, stop) for start, stop, _ in objects]
        more = [
            span for span in _objects(mended, fits) if all(span[1] <= start or stop <= span[0] for start, stop in stops)
        ]
        objects = sorted([*objects, *more], key=lambda span: span[0])
    return objects or list(_objects(text))


def _objects(text: str, fits: Callable[[dict[str, Any]], bool] = bool) -> Iterator[Found[dict[str, Any]]]:
    """Yield the JSON objects in a text that fit, also those inside others that do not fit."""
    decoder, end = json.JSONDecoder(), 0
    starts = list(re.finditer(r"\{(?=\s*[\"}])", text))
    for match in starts[-MOST_OBJECTS:]:  # the answer comes last; 200,000 braces would take minutes
        if match.start() < end:
            continue
        try:
            value, stop = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        if fits(value):
            end = stop
            yield match.start(), stop, value
