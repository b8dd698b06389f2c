"""Reads program.md. Its front matter sets limits. Its prose only proposes limits and gives `search` directions. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import lru_cache

from msgspec import structs

from core.charter.blocks import blocks
from core.charter.directions import Direction, described, of_sections
from core.charter.front_matter import CharterError as CharterError
from core.charter.front_matter import limits, misplaced, split, undefined
from core.charter.prose import Proposed as Proposed
from core.charter.prose import asked_for, missing
from core.model import CharterLimits
from core.text import sanitize_line
from nanochat.contract.value import Data

TIME = re.compile(r"(?<!\d)\d+ ?-?(s|sec|seconds?|min|minutes?|hours?)\b", re.I)
_WORD = re.compile(r"[^\W\d_]{2}")
QUOTES, QUOTE = 2, 45  # unused sentences up to which all are quoted, and characters of each


class Charter(Data, frozen=True, kw_only=True):
    """The content of a program.md.

    Attributes:
        max_params: The largest number of parameters, from the front matter. The loop enforces it for every agent.
        max_memory_gb: The most memory of a training in GB, likewise.
        off_limits: Names of train.py that must not change, likewise.
        absent: Those of them that train.py does not define, so that nothing is protected.
        proposed: Limits that the prose seems to ask for. They are not enforced.
        directions: The directions for `search` in the prose.
        warnings: Names that train.py does not define, and front matter in the wrong place.
        notes: Other remarks for the human.
        unused: Sentences that `search` does not use. Language models read all of program.md.
    """

    max_params: int | None = None
    max_memory_gb: float | None = None
    off_limits: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    proposed: tuple[Proposed, ...] = ()
    directions: tuple[Direction, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def limits(self) -> CharterLimits:
        """The limits of the front matter."""
        return CharterLimits(max_params=self.max_params, max_memory_gb=self.max_memory_gb, off_limits=self.off_limits)

    def understood(self, restated: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return phrases for a human. If a language model `restated` program.md, they replace the one about unused sentences."""
        present = tuple(name for name in self.off_limits if name not in self.absent)
        phrases = [*structs.replace(self.limits, off_limits=present).words()]
        if self.directions:
            phrases.append(f"directions: {'; '.join(described(self.directions))}")
        words = restated or ((_unused_words(self.unused),) if self.unused else ())
        return (*phrases, *self.notes, *words)


def read(text: str, known: Collection[str] = ()) -> Charter:
    """Read a program.md.

    Args:
        text: The whole file.
        known: The names of train.py; () if it cannot be read.

    Raises:
        CharterError: It is empty, or its front matter cannot be used.
    """
    if not text.strip("\ufeff \t\r\n"):
        raise CharterError("program.md is empty. Write down what to research, in plain English, and start again.")
    parts = split(text)
    bound = limits(parts, known)
    absent = tuple(name for name in bound.off_limits if known and name not in known)
    paragraphs = tuple(blocks(parts.body))
    asked = asked_for(parts.body, paragraphs, known)
    wishes, unused = of_sections(paragraphs, known)
    notes = [] if parts.body.strip() else ["there is no text besides the front matter"]
    if TIME.search(parts.body):
        notes.append("a time in the text is not a limit: --budget sets the training time")
    quoted = {request.sentence for request in asked}  # adopted ones too
    return Charter(
        **structs.asdict(bound),
        proposed=missing(asked, bound),
        directions=wishes,
        absent=absent,
        warnings=(*misplaced(parts), *(undefined(name, known) for name in absent)),
        notes=tuple(notes),
        unused=tuple(
            sanitize_line(sentence, 200) for sentence in unused if sentence not in quoted and _WORD.search(sentence)
        ),
    )


@lru_cache(maxsize=16)  # asked for each experiment of a record
def binding(text: str) -> CharterLimits:
    """Return the limits in the front matter of a program.md, without reading its prose. Raises CharterError."""
    return limits(split(text))


def _unused_words(sentences: Sequence[str]) -> str:
    """Return a phrase that quotes a few unused sentences. Of more it quotes the last one, which was probably added last."""
    many = len(sentences) > QUOTES
    latest = sentences[-1:] if many else sentences[::-1]
    shown = " ".join(f"“{s if len(s) <= QUOTE else s[: QUOTE - 1].rstrip() + '…'}”" for s in latest)
    if many:
        return f"{len(sentences)} sentences are only for language models (docs/guide.md), the last one {shown}"
    return f"not used by search, which uses a section only if it understands all of it: {shown}"
