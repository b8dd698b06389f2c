"""Finds the thoughts in a model's text, and which of several answers counts. Pure.

Models mark thoughts in many ways, and servers or templates often drop the opening mark. A change in the thoughts may have been
rejected there, so the answer after the thoughts counts.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from core.change.edits import NotRead

Span = tuple[int, int]
Content = TypeVar("Content")
Found = tuple[int, int, Content]  # begin and end in a text, and the parsed content

_NAME = r"(?:[\w:.▁-]{0,30}(?:think|thought|reason|reflect|monolog|scratch_?pad)[\w:.▁-]{0,30}|analysis|cot)"
_WORD = r"(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection)"  # in brackets, where fewer words are accepted, since prose uses brackets too
_END = r"(?:end|stop|close)[_▁-]"  # at the beginning of a name, as in end_of_thought
_AT_END = r"(?<=[_▁-]end)"
_LEFT, _RIGHT = r"[<＜‹][|｜]?\s*", r"\s*[|｜]?[>＞›]"
_HARMONY = r"<\|(?:start\|>\s*assistant\s*<\|)?channel\|>\s*"
_CLOSED = re.compile(
    rf"{_LEFT}(?:\\?/\s*{_NAME}|{_END}{_NAME}|{_NAME}{_AT_END}){_RIGHT}"  # </think>, <|END_THINKING|>, <end_of_thought>
    rf"|\[\s*/\s*{_WORD}\s*\]"  # [/THINK]
    rf"|◁\s*/\s*{_WORD}\s*▷"
    rf"|{_HARMONY}final\b[^<\n]{{0,40}}(?:<\|constrain\|>[^<\n]{{0,40}})?<\|message\|>"
    r"|<\|start\|>\s*assistant(?:\s*<\|message\|>|(?!\s*<\|))"  # earlier messages are not the answer
    r"|assistantfinal(?-i:(?=[^a-z]))"  # the same if the server dropped the marks
    r"|<channel\|>|<\|inner_suffix\|>|<unused95>|here is my response:",
    re.IGNORECASE,
)
_OPENED = re.compile(
    rf"<\s*(?!{_END}){_NAME}(?<![_▁-]end)(?:\s[^<>]*)?(?<!/)>"
    rf"|{_LEFT}(?!{_END}){_NAME}(?<![_▁-]end){_RIGHT}"
    rf"|\[\s*{_WORD}\s*\]"
    rf"|◁\s*{_WORD}\s*▷"
    rf"|{_HARMONY}(?!final\b)\w+"
    r"|\Aanalysis(?-i:(?=[A-Z]))"
    r"|<\|channel>\s*thought|<\|inner_prefix\|>|<unused94>\s*thought|here is my thought process:",
    re.IGNORECASE,
)
_FRAME = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?(?:answer|output|response|final|solution)>", re.IGNORECASE)
_QUOTES = "`'\"“”‘’()"


class Unfinished(NotRead):
    """The model was still thinking when the text ended."""


@dataclass(frozen=True)
class Part:
    """A part of a text between marks. `ended`: whether a mark closes it; always true if it is not a thought."""

    begin: int
    end: int
    thought: bool
    ended: bool = True


def parts(text: str, kept: Sequence[Span] = ()) -> list[Part]:
    """Split a model's text into thoughts and other parts. The last part is the text after the last mark.

    Args:
        text: The text of a model.
        kept: Spans that may be an answer. Marks inside them are ignored, since they may be code.
    """
    spans = sorted(kept)
    starts = [start for start, _ in spans]
    ends = list(itertools.accumulate((stop for _, stop in spans), max))

    def is_data(mark: re.Match[str]) -> bool:
        index = bisect.bisect_right(starts, mark.start()) - 1
        return index >= 0 and mark.end() <= ends[index]

    marks = [(mark, True) for mark in _CLOSED.finditer(text)] + [(mark, False) for mark in _OPENED.finditer(text)]
    found_parts, begin, thinking = [], 0, False
    for mark, closes in sorted(marks, key=lambda pair: pair[0].start()):
        ignored = not closes if thinking else _mentioned(text, mark, closes)
        if ignored or mark.start() < begin or is_data(mark):
            continue
        found_parts.append(Part(begin, mark.start(), thinking or closes))
        begin, thinking = mark.end(), not closes
    return [*found_parts, Part(begin, len(text), thinking, ended=not thinking)]


def _mentioned(text: str, mark: re.Match[str], closes: bool) -> bool:
    """Return whether a mark is only mentioned in a sentence, such as "the <think> tag" or "I closed `</think>`."."""
    before, after = text[max(0, mark.start() - 2) : mark.start()], text[mark.end() : mark.end() + 1]
    if before and after and before[-1] in _QUOTES and after in _QUOTES:
        return True
    in_sentence = re.fullmatch(r"[\w,] ", before) is not None
    return in_sentence and (closes if after in ("", "\n") else after in " .,;:!?)")


def answers(text: str, answers_found: Sequence[Found[Content]]) -> list[Found[Content]]:
    """Return the candidates for the answer among `found`: those after the last thought, else those between thoughts.

    If all are in thoughts, it is the last one if nothing follows it: then the model did not mark the end of its thoughts.

    Raises:
        Unfinished: The text ends in the middle of the thoughts.
    """
    every = parts(text, [(start, stop) for start, stop, _ in answers_found])
    begins = [part.begin for part in every]
    inside: dict[int, list[Found[Content]]] = {}
    for span in answers_found:
        inside.setdefault(bisect.bisect_right(begins, span[0]) - 1, []).append(span)
    spoken = [index for index in inside if not every[index].thought]
    if spoken:
        return inside[max(spoken)]
    if answers_found and not re.search(r"\w", _unmarked(text[answers_found[-1][1] :])):
        return [answers_found[-1]]
    if not every[-1].ended:
        raise Unfinished("The text ended before the thoughts did. Think briefly, then answer in the form asked for.")
    return []


def after_thoughts(text: str, answers_found: Sequence[Found[Content]]) -> str:
    """Return the text after the thoughts, else the answer among `found`, or '' if there are only thoughts."""
    last = parts(text, [(start, stop) for start, stop, _ in answers_found])[-1]
    rest = text[last.begin :].strip()
    if not last.thought and unframed(rest).strip():
        return rest
    try:
        chosen = answers(text, answers_found)
    except Unfinished:
        return ""
    return text[chosen[0][0] : chosen[-1][1]] if chosen else ""


def _unmarked(text: str) -> str:
    return unframed(_OPENED.sub(" ", _CLOSED.sub(" ", text)))


def unframed(text: str) -> str:
    """Return a text without the marks that some models write around a message or an answer."""
    return _FRAME.sub(" ", text)
