"""The verdicts that an experiment can get. One row holds the texts of a verdict, and how it counts.

`LOST` in `core/agents/llm/exhausted_ideas.py` holds those that count against an idea.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

# A variable of the app's theme.
Tone = Literal["success", "warning", ""]
Group = Literal["kept", "not kept", "failed", "cut short"]  # what the table of experiments can be narrowed to


class Verdict(StrEnum):
    """How an experiment ended.

    Attributes:
        words: The text that people read.
        letter: One letter, for narrow tables.
        group: The filter of the experiment table that shows it.
        sentence: A template of the finding with {reason}; "" where `core/reporting/findings.py` composes the finding.
        may_repeat: Whether the same change may be proposed again: nothing was learnt about it, and nobody rejected it.
    """

    words: str
    letter: str
    group: Group
    sentence: str
    may_repeat: bool

    def __new__(  # defaults, since Verdict("keep") looks one up
        cls,
        value: str,
        letter: str = "",
        group: Group = "not kept",
        sentence: str = "",
        words: str = "",
        may_repeat: bool = False,
    ) -> Verdict:
        made = str.__new__(cls, value)
        made._value_, made.words, made.letter, made.group = value, words or value, letter, group
        made.sentence, made.may_repeat = sentence, may_repeat
        return made

    KEEP = "keep", "K", "kept", "", "kept"
    SIMPLIFICATION = "simplification", "S", "kept"
    DISCARD = "discard", "D", "not kept", "", "discarded"
    CRASH = "crash", "C", "failed"
    TIMEOUT = "timeout", "T", "failed", "No result: {reason}", "out of time"
    OVERRUN = "overrun", "O", "failed", "No result: {reason}"
    INVALID = "invalid", "!", "failed", "Invalid: {reason}"
    SKIPPED = "skipped", "-", "not kept"
    INTERRUPTED = "interrupted", "I", "cut short", "Interrupted: {reason}.", "", True
    CONFLICT = "conflict", "X", "not kept", "Not run: {reason}", "", True
    DISTURBED = "disturbed", "~", "cut short", "No verdict on the idea: {reason}.", "", True

    @property
    def tone(self) -> Tone:
        """The colour, as a variable of the app's theme."""
        return "success" if self.kept else "warning" if self.failed else ""

    @property
    def kept(self) -> bool:
        """Whether the change became the new incumbent."""
        return self.group == "kept"

    @property
    def failed(self) -> bool:
        """Whether it got no score because of its own code."""
        return self.group == "failed"

    @property
    def tried(self) -> bool:
        """Whether it says something about the idea or its code. An experiment that did not run to its end was not tried."""
        return not self.may_repeat and self is not Verdict.SKIPPED

    @property
    def upstream(self) -> Literal["keep", "discard", "crash"]:
        """The verdict as upstream autoresearch writes it to results.tsv."""
        if self.kept:
            return "keep"
        return "crash" if self.failed else "discard"


_ALREADY = {
    Verdict.KEEP: "is already kept",
    Verdict.SIMPLIFICATION: "is already kept",
    Verdict.DISCARD: "is already discarded",
    Verdict.INVALID: "is already invalid",
    Verdict.SKIPPED: "is already skipped",
}


def may_overrule(old: Verdict, new: Verdict) -> bool:
    """Return whether a verdict would change anything in place of another one."""
    return new != old and not (new.kept and old.kept)


def already(verdict: Verdict) -> str:
    """Return the end of a sentence which says that an experiment has this verdict."""
    return _ALREADY.get(verdict, f"already has the verdict {verdict.words}")
