"""Finds SEARCH/REPLACE blocks in the text of a language model, and which of them form one answer. Pure."""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence

import msgspec

from core.agents.llm import thoughts
from core.agents.llm.answers import EditsAnswer
from core.agents.llm.thoughts import Found
from core.model import Edit
from core.target import TARGET

_MARK = re.compile(
    r"(?P<search><{5,9} ?SEARCH[^\n]{0,200}\n)|(?P<middle>^[ \t]*={5,9}(?!=)[^\n]*\n)|(?P<end>\n?>{5,9} ?REPLACE)",
    re.MULTILINE,
)
_FENCE = re.compile(r"(?:```+|~~~+)[ \t]*([^\s`<]*)")
_CODE = re.compile(r"(?:py\w*|diff|patch|te?xt|plain\w*|code|search\S*|edit\S*|\S*\.py)?", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([A-Za-z][\w:.-]{0,40}?)[\d_]*(?: [^<>\n]{0,80})?>")
_FRAMES = {"answer", "output", "response", "final", "solution"}
_TAIL = r"(?:[^.!?]|\.(?=\d)){0,100}[.:]?\W*"
_KIND = r"(?:edit|change|block|hunk|part|step|diff|patch|replacement|modification)"
_HEADER = re.compile(  # "Edit 2:", "2. Lower DECAY to 0.5", "nanochat/train.py"
    rf"\W*{_KIND}\W{{0,3}}\d+(?: of \d+)?(?:\W*|\W*[:.)(—–-]{_TAIL})"
    rf"|\W*\d{{1,2}}[.):](?!\d){_TAIL}"
    rf"|\W*(?:first|second|third|fourth|fifth|next|another) {_KIND}\W*|\W*(?:and|also|then|plus)\W*"
    r"|\W*(?:(?:in|and|file)\W+)?[\w./-]*\w\.py\W*",
    re.IGNORECASE,
)


def blocks_in(text: str) -> Iterator[Found[Edit]]:
    """Yield the complete SEARCH/REPLACE blocks of a text. A block that another one interrupts is skipped."""
    begin = middle = None
    for mark in _MARK.finditer(text):
        if mark["search"]:
            begin, middle = mark, None
        elif mark["middle"]:
            middle = middle or mark
        elif begin and middle:
            search = text[begin.end() : middle.start()].removesuffix("\n")
            yield begin.start(), mark.end(), Edit(search=search, replace=text[middle.end() : mark.start()])
            begin = middle = None


def answers_in(text: str) -> list[Found[EditsAnswer]]:
    """Return the SEARCH/REPLACE blocks in groups that form one answer. The text before a group is its hypothesis."""
    blocks = list(blocks_in(text))
    begins = [part.begin for part in thoughts.parts(text, [(start, stop) for start, stop, _ in blocks])]
    groups: list[Found[EditsAnswer]] = []
    before, fence, end = "", "", 0
    for (start, stop, edit), kind in zip(blocks, _fences(text, blocks), strict=True):
        if groups and kind == fence and _continues(text[end:start]):
            first, _, answer = groups.pop()
            groups.append((first, stop, msgspec.structs.replace(answer, edits=(*answer.edits, edit))))
        else:
            before = text[max(end, begins[bisect.bisect_right(begins, start) - 1]) : start]
            groups.append((start, stop, EditsAnswer(hypothesis=_hypothesis(before), edits=(edit,))))
        fence, end = kind, stop
    return groups


def _hypothesis(before: str) -> str:
    words = _TAG.sub(" ", thoughts.unframed(before))
    return re.sub(rf"```\w*|~~~|{re.escape(TARGET.path)}|(?i:hypothesis:)", " ", words).strip()


def _continues(between: str) -> bool:
    """Return whether blocks with this text between them form one answer. Prose or a closing tag means that a new one begins."""
    tags = [(slash, name.lower()) for slash, name in _TAG.findall(between)]
    closed = sorted(name for slash, name in tags if slash)
    opened = sorted(name for slash, name in tags if not slash)
    if closed != opened and (opened or not _FRAMES.issuperset(closed)):
        return False
    lines = _TAG.sub("", re.sub(r"(?:```+|~~~+)[\w+:-]*", "", between)).split("\n")
    return all(not re.search(r"\w", line) or (len(line) < 200 and _HEADER.fullmatch(line)) for line in lines)


def _fences(text: str, blocks: Sequence[Found[Edit]]) -> list[str]:
    """Return the name of the fence around each block; '' for no fence, and for names of code."""
    kinds, fence, begin = [], "", 0
    for start, stop, _ in blocks:
        for match in _FENCE.finditer(text, begin, start):
            fence = "" if fence else match[1].lower() or "code"
        kinds.append("" if _CODE.fullmatch(fence) else fence)
        begin = stop
    return kinds
