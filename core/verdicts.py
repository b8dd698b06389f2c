"""How an experiment can end. One row a verdict holds all that is shown of it and how it counts: a new verdict is a new row."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

# A variable of the app's theme: warm for what failed, never alarming by itself.
Tone = Literal["success", "warning", ""]
Group = Literal["kept", "not kept", "failed", "cut short"]  # what the table of experiments can be narrowed to


class Verdict(StrEnum):
    """One value for each thing a human would want to tell apart.

    Attributes:
        words: what a person reads.
        letter: for a table with little room.
        group: with which others it is shown.
        sentence: the finding, around {reason}; "" where `core/reporting/findings.py` composes it from figures.
        may_repeat: the same change may come again, since nothing was learnt about it and nobody turned it down.
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

    KEEP = "keep", "K", "kept"
    SIMPLIFICATION = "simplification", "S", "kept"
    DISCARD = "discard", "D", "not kept"
    CRASH = "crash", "C", "failed"
    TIMEOUT = "timeout", "T", "failed", "No result: {reason}", "out of time"
    OVERRUN = "overrun", "O", "failed", "No result: {reason}"
    INVALID = "invalid", "!", "failed", "Broke a rule: {reason}", "broke a rule"
    SKIPPED = "skipped", "-", "not kept"
    INTERRUPTED = "interrupted", "I", "cut short", "Interrupted: {reason}.", "", True
    CONFLICT = "conflict", "X", "not kept", "Not run: {reason}", "", True
    DISTURBED = "disturbed", "~", "cut short", "No verdict on the idea: {reason}.", "", True

    @property
    def tone(self) -> Tone:
        """How it is coloured."""
        return "success" if self.kept else "warning" if self.failed else ""

    @property
    def kept(self) -> bool:
        """Whether the change became part of the best."""
        return self.group == "kept"

    @property
    def failed(self) -> bool:
        """Whether its own code kept it from a score."""
        return self.group == "failed"

    @property
    def tried(self) -> bool:
        """Whether it says something of the idea, or of its code: what was not run to its end was not tried."""
        return not self.may_repeat and self is not Verdict.SKIPPED

    @property
    def upstream(self) -> Literal["keep", "discard", "crash"]:
        """The verdict in autoresearch's own three words, for results.tsv."""
        if self.kept:
            return "keep"
        return "crash" if self.failed else "discard"
