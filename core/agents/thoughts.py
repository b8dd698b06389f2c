"""Where a model's thoughts end and its answer begins. Pure.

Models mark thoughts in many ways, and a server or a template often swallows the opening mark. So only the last closing mark
counts: what stands before it are thoughts, and a change that is considered there may have been rejected.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence

from core.edits import NotRead

Span = tuple[int, int]

_NAME = r"(?:[\w:.-]{0,30}(?:think|thought|reason|reflect|monolog|scratch_?pad)[\w:.-]{0,30}|analysis|cot)"
_WORD = r"(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection)"  # in brackets, which stand in prose for much else
_HARMONY = r"<\|(?:start\|>\s*assistant\s*<\|)?channel\|>\s*"
_CLOSED = re.compile(
    rf"<\s*/\s*{_NAME}\s*>"  # </think>, </seed:think>
    rf"|\[\s*/\s*{_WORD}\s*\]"  # [/THINK]
    rf"|◁\s*/\s*{_WORD}\s*▷"
    rf"|<\|\s*(?:/\s*{_NAME}|end_{_NAME}|{_NAME}(?<=_end))\s*\|>"  # <|/think|>, <|END_THINKING|>, <|end_of_thought|>
    rf"|{_HARMONY}final\b[^<\n]{{0,40}}(?:<\|constrain\|>[^<\n]{{0,40}})?<\|message\|>"
    r"|<\|start\|>\s*assistant(?:\s*<\|message\|>|(?!\s*<\|))"  # a message before this one is no answer
    r"|assistantfinal(?-i:(?=[^a-z]))"  # the same where the server has dropped the marks
    r"|<channel\|>|<\|inner_suffix\|>|<unused95>|here is my response:",
    re.IGNORECASE,
)
_OPENED = re.compile(
    rf"<\s*{_NAME}(?:\s[^<>]*)?(?<!/)>"
    rf"|\[\s*{_WORD}\s*\]"
    rf"|◁\s*{_WORD}\s*▷"
    rf"|<\|\s*(?!end_){_NAME}(?<!_end)\s*\|>"
    rf"|{_HARMONY}(?!final\b)\w+"
    r"|\Aanalysis(?-i:(?=[A-Z]))"
    r"|<\|channel>\s*thought|<\|inner_prefix\|>|<unused94>\s*thought|here is my thought process:",
    re.IGNORECASE,
)
_FRAME = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?(?:answer|output|response|final|solution)>", re.IGNORECASE)


class Unfinished(NotRead):
    """The model was still thinking when the text ended."""


def end(text: str, kept: Sequence[Span] = ()) -> int:
    """Return the index at which the answer begins: after the last closing mark, 0 where there is none.

    Args:
        text: What a model wrote.
        kept: Spans that are parts of an answer for certain; a mark in them is data, such as a line of code. They do not overlap.

    Raises:
        Unfinished: A thought is opened behind that, and not closed.
    """

    spans = sorted(kept)
    starts = [start for start, _ in spans]

    def is_data(match: re.Match[str]) -> bool:
        index = bisect.bisect_right(starts, match.start()) - 1
        return index >= 0 and match.end() <= spans[index][1]

    closed = reversed(list(_CLOSED.finditer(text)))
    begin = next((match.end() for match in closed if not is_data(match)), 0)
    if any(match.start() >= begin and not is_data(match) for match in _OPENED.finditer(text)):
        raise Unfinished("The text ended before the thoughts did. Think briefly, then answer in the form asked for.")
    return begin


def unframed(text: str) -> str:
    """Return a text without the marks of message and answer that some models write around theirs."""
    return _FRAME.sub(" ", text)
