"""Finds limits that the prose of program.md seems to ask for. They are proposed to the human and not enforced. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from core.charter.blocks import Block
from core.charter.directions import HANDS_OFF
from core.charter.front_matter import (
    FIGURE,
    CharterError,
    KeyLine,
    Parts,
    gigabytes,
    key_like,
    key_lines,
    limits,
    params,
)
from core.model import CharterLimits
from nanochat.contract.value import Data

LONGEST = 500  # longer sentences are ignored, in characters
_PARAMS = re.compile(rf"(?<![\w.])({FIGURE}) ?(k|m|b|thousand|million|billion)? ?(?:parameters|params|weights)\b", re.I)
_MEMORY = re.compile(rf"(?<![\w.])({FIGURE}) ?(gb|gib|mb|mib|gigabytes)\b", re.I)
_MOST = re.compile(r"\b(?:at most|up to|max(?:imum)?|limit(?:ed)?|no more than|not more than|cap)\b", re.I)
_UNDER = re.compile(r"\b(?:below|under|less than|fewer than|smaller than)\b", re.I)
_OVER = re.compile(r"\b(?:more than|larger than|bigger than|above|over|beyond|exceed\w*)\b", re.I)
_NEGATED = re.compile(r"\b(?:no|not|never|nothing|avoid|without|cannot)\b|n['’]t\b", re.I)
_STORED = re.compile(r"\b(?:data\w*|disks?|download\w*|files?|logs?|shards?|checkpoints?|swap|storage|cache)\b", re.I)
_TOUCH = r"(?:touch|change|edit|modify|alter|move|tune|vary|adjust|set|rewrite)"
_HANDS_OFF = re.compile(
    rf"\b(?:do not|don['’]t|never|must not|should not|may not) (?:ever )?{_TOUCH}\b|\bnot be {_TOUCH}e?d\b|"
    r"\bleave\b|\b(?:fixed|constant|unchanged|untouched|untouchable|frozen|off[ -]limits)\b",
    re.I,
)
_HANDS_OFF_TITLE = re.compile(rf"(?:{HANDS_OFF}):?", re.I)
_NAMES = re.compile(r"`?[\w.]+(?:\(\))?`?(?:(?:, | and |, and )`?[\w.]+(?:\(\))?`?)*\.?")
_CODE = re.compile(r"`([\w.]+)(?:\(\))?`|\b([A-Za-z_]\w*(?:\.\w+)*)")


class Proposed(Data, frozen=True, kw_only=True):
    """A limit that a sentence seems to ask for.

    Attributes:
        line: The line for the front matter, such as `max_params: 60000000`. A list of names includes the present ones.
        sentence: The sentence of program.md that asks for it.
    """

    line: str
    sentence: str

    @property
    def key(self) -> str:
        return self.line.partition(":")[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the line, if it is about off_limits."""
        return tuple(re.findall(r"[\w.]+", self.line.partition(":")[2])) if self.key == "off_limits" else ()


@dataclass(frozen=True)
class Request:
    """A sentence, or a line outside of the front matter, and the limits that it seems to ask for."""

    sentence: str
    limits: CharterLimits


def asked_for(body: str, paragraphs: Iterable[Block], known: Collection[str]) -> tuple[Request, ...]:
    """Return the limits that the prose seems to ask for.

    Args:
        body: program.md without its front matter.
        paragraphs: Its blocks.
        known: The names of train.py.
    """
    requests = [Request(line.content.strip(), _misplaced(line)) for line in key_lines(body)]
    for block in paragraphs:
        title = block.lead or (block.headings[-1] if block.headings else "")
        listed = _HANDS_OFF_TITLE.fullmatch(title) and not (block.lead and key_like(block.lead))
        for sentence in block.sentences:
            names = tuple(named(sentence, known)) if listed and _NAMES.fullmatch(sentence) else ()
            requests.append(Request(sentence, CharterLimits(off_limits=names) if names else _asked(sentence, known)))
    return tuple(request for request in requests if request.limits != CharterLimits())


def missing(requests: Iterable[Request], bound: CharterLimits) -> tuple[Proposed, ...]:
    """Return the requests that the front matter does not fulfil yet. `bound` are its limits."""
    by_key: dict[str, Proposed] = {}
    for request in requests:
        for line in _lines(request.limits, bound):
            by_key.setdefault(line, Proposed(line=line, sentence=request.sentence))
    return tuple(by_key.values())


def _lines(wanted: CharterLimits, bound: CharterLimits) -> list[str]:
    """Return the missing limits as lines of front matter."""
    names = [name for name in wanted.off_limits if name not in bound.off_limits]
    result = []
    if wanted.max_params is not None and bound.max_params is None:
        result.append(f"max_params: {wanted.max_params}")
    if wanted.max_memory_gb is not None and bound.max_memory_gb is None:
        result.append(f"max_memory_gb: {wanted.max_memory_gb:.6g}")
    return result + ([f"off_limits: [{', '.join((*bound.off_limits, *names))}]"] if names else [])


def _misplaced(line: KeyLine) -> CharterLimits:
    """Return the limit in a line outside of the front matter, or no limit if it cannot be read."""
    if not line.exact or len(line.content) > LONGEST:
        return CharterLimits()
    try:
        return limits(Parts(f"{line.key}: {line.value}", 0, 1, "", 1))
    except CharterError:
        return CharterLimits()


def _asked(sentence: str, known: Collection[str]) -> CharterLimits:
    if len(sentence) > LONGEST or sentence.endswith("?"):
        return CharterLimits()
    count = size = None
    if _bounds(sentence):
        many, much = _PARAMS.search(sentence), _MEMORY.search(sentence)
        count = params(many[1], many[2] or "") if many else None
        size = gigabytes(much[1], much[2]) if much and not _STORED.search(sentence) else None
    names = [
        name for part in re.split(r"\bbut\b|;", sentence) if _HANDS_OFF.search(part) for name in named(part, known)
    ]
    return CharterLimits(max_params=count, max_memory_gb=size, off_limits=tuple(dict.fromkeys(names)))


def _bounds(sentence: str) -> bool:
    """Return whether a sentence is about an upper bound."""
    negated = bool(_NEGATED.search(sentence))
    over, under = _OVER.search(sentence), _UNDER.search(sentence)
    return bool(_MOST.search(sentence) or (over and negated) or (under and not negated))


def named(text: str, known: Collection[str]) -> list[str]:
    """Return the names of train.py in a text. A name that is also a plain word (schedule) only counts in backquotes."""
    names = [quoted or (bare if re.search(r"\w[A-Z]|_|\.", bare) else "") for quoted, bare in _CODE.findall(text)]
    return [name for name in names if name in known]
