"""program.md, understood. Its front matter binds; its prose only proposes limits, and gives `search` directions. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence

from msgspec import structs

from core.charter.blocks import blocks
from core.charter.directions import Direction, described, of_sections
from core.charter.front_matter import CharterError as CharterError
from core.charter.front_matter import limits, misplaced, split
from core.charter.prose import Proposed as Proposed
from core.charter.prose import asked_for, missing
from core.model import CharterLimits
from core.text import sanitize_line
from nanochat.contract.value import Data

TIME = re.compile(r"(?<!\d)\d+ ?-?(s|sec|seconds?|min|minutes?|hours?)\b", re.I)
_WORD = re.compile(r"[^\W\d_]{2}")
QUOTES, QUOTE = 2, 45  # sentences that are quoted as not usable, and characters of each


class Charter(Data, frozen=True, kw_only=True):
    """What was understood of a program.md.

    Attributes:
        max_params, max_memory_gb, off_limits: The limits of its front matter, which the loop enforces for every agent.
        proposed: Limits that its prose seems to ask for. Nobody enforces them.
        directions: What `search` takes from its prose.
        warnings: What a human should know: unknown keys, names that train.py has not, front matter in the wrong place.
        notes: What is worth a note.
        unused: Sentences that `search` does not use. Language models read all of program.md.
    """

    max_params: int | None = None
    max_memory_gb: float | None = None
    off_limits: tuple[str, ...] = ()
    proposed: tuple[Proposed, ...] = ()
    directions: tuple[Direction, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def limits(self) -> CharterLimits:
        """All limits together."""
        return CharterLimits(max_params=self.max_params, max_memory_gb=self.max_memory_gb, off_limits=self.off_limits)

    def understood(self, restated: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return phrases for a human. Where a language model `restated` program.md, nothing is called unused."""
        found = [*self.limits.words()]
        if self.directions:
            found.append(f"directions: {'; '.join(described(self.directions))}")
        words = restated or ((_unused_words(self.unused),) if self.unused else ())
        return (*found, *self.notes, *words)


def read(text: str, known: Collection[str] = ()) -> Charter:
    """Understand a program.md.

    Args:
        text: All of it.
        known: The names of train.py; () where it cannot be read.

    Raises:
        CharterError: It is empty, or its front matter cannot be used. The message is a sentence.
    """
    if not text.strip("\ufeff \t\r\n"):
        raise CharterError("program.md is empty. Write down what to research, in plain English, and start again.")
    parts = split(text)
    bound, unknown = limits(parts)
    strange = [_strange(name, known) for name in bound.off_limits if name not in known]
    paragraphs = tuple(blocks(parts.body))
    asked = asked_for(parts.body, paragraphs, known)
    wishes, unused = of_sections(paragraphs, known)
    notes = [] if parts.body.strip() else ["there is no text besides the front matter"]
    if TIME.search(parts.body):
        notes.append("times are no limits here: the training time is what --budget says")
    quoted = {request.sentence for request in asked}  # adopted ones too
    return Charter(
        **structs.asdict(bound),
        proposed=missing(asked, bound),
        directions=wishes,
        warnings=(*unknown, *misplaced(parts), *(strange if known else ())),
        notes=tuple(notes),
        unused=tuple(
            sanitize_line(sentence, 200) for sentence in unused if sentence not in quoted and _WORD.search(sentence)
        ),
    )


def binding(text: str) -> CharterLimits:
    """Return what the front matter of a program.md says, without a look at its prose. Raises CharterError."""
    return limits(split(text))[0]


def _strange(name: str, known: Collection[str]) -> str:
    plain = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), plain, n=1, cutoff=0.75)
    hint = f" (did you mean {plain[near[0]]}?)" if near else ""
    return f"off_limits {name}, which train.py does not define{hint}"


def _unused_words(sentences: Sequence[str]) -> str:
    """The last ones quoted, the rest counted."""
    latest = sentences[: -QUOTES - 1 : -1]  # what was added last is what one wonders about
    shown = " ".join(f"“{s if len(s) <= QUOTE else s[: QUOTE - 1].rstrip() + '…'}”" for s in latest)
    more = f" and {len(sentences) - QUOTES} more" if len(sentences) > QUOTES else ""
    return f"not used by search, which must understand a whole section: {shown}{more}"
