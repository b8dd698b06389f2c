"""The verdicts that an experiment can get. One row holds the texts of a verdict, and how it counts."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple

# A variable of the app's theme.
Tone = Literal["success", "warning", ""]
Group = Literal["kept", "not kept", "failed", "cut short"]  # what the table of experiments can be narrowed to


class Row(NamedTuple):
    """The columns of a verdict.

    Attributes:
        letter: One letter, for narrow tables.
        group: The filter of the experiment table that shows it.
        about: What it means, for the help of the app.
        words: The text that people read; "" for the verdict itself.
        sentence: A template of the finding with {reason}; "" where `core/reporting/findings.py` composes the finding.
        may_repeat: Whether the same change may be proposed again: nothing was learnt about it, and nobody rejected it.
        stopped: Whether somebody stopped it. It then says nothing about the idea, and does not end a row of failures.
    """

    letter: str
    group: Group
    about: str
    words: str = ""
    sentence: str = ""
    may_repeat: bool = False
    stopped: bool = False


_NO_ROW = Row("", "not kept", "")  # in a call like Verdict("keep"), which looks a verdict up


class Verdict(StrEnum):
    """How an experiment ended. The attributes are the columns of `Row`."""

    letter: str
    group: Group
    about: str
    words: str
    sentence: str
    may_repeat: bool
    stopped: bool

    def __new__(cls, value: str, row: Row = _NO_ROW) -> Verdict:
        made = str.__new__(cls, value)
        made._value_ = value
        made.letter, made.group, made.about, made.words, made.sentence, made.may_repeat, made.stopped = row
        made.words = row.words or value
        return made

    # fmt: off
    KEEP = "keep", Row(
        "K", "kept",
        "Its mean gain over two or more seeds is larger than the noise explains. It is the new best.",
        words="kept",
    )
    SIMPLIFICATION = "simplification", Row("S", "kept", "About as good as the best, with less code. It is the new best.")
    DISCARD = "discard", Row(
        "D", "not kept", "Not kept for another reason, which the details say; or you decided so.", words="discarded",
    )
    CRASH = "crash", Row("C", "failed", "It crashed; the word is the kind of crash. The traceback is in the details.")
    TIMEOUT = "timeout", Row(
        "T", "failed", "It did not end in the time that a training may take.",
        words="out of time", sentence="No result: {reason}",
    )
    OVERRUN = "overrun", Row(
        "O", "failed", "It trained longer than its budget, so it has no score.", sentence="No result: {reason}",
    )
    INVALID = "invalid", Row(
        "!", "failed",
        "It broke a rule: for example, it reads files, or changes what a limit of program.md protects. The details say which rule.",
        sentence="Invalid: {reason}",
    )
    SKIPPED = "skipped", Row("-", "not kept", "You skipped it.", stopped=True)
    INTERRUPTED = "interrupted", Row(
        "I", "cut short", "The loop ended, or you aborted it. It says nothing about the idea.",
        sentence="Interrupted: {reason}.", may_repeat=True, stopped=True,
    )
    CONFLICT = "conflict", Row(
        "X", "not kept", "A new best has changed the same lines, so it was not run.",
        sentence="Not run: {reason}", may_repeat=True,
    )
    DISTURBED = "disturbed", Row(
        "~", "cut short", "The machine spoilt its measurements. It says nothing about the idea.",
        sentence="No verdict on the idea: {reason}.", may_repeat=True,
    )
    # fmt: on

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
        return not self.may_repeat and not self.stopped

    @property
    def counts(self) -> bool:
        """Whether it counts against --max-experiments. A skipped one does not, since the skip is a veto: nothing was trained."""
        return not self.stopped

    @property
    def lost(self) -> bool:
        """Whether it counts against the idea."""
        return self.tried and not self.kept

    @property
    def upstream(self) -> Literal["keep", "discard", "crash"]:
        """The verdict as upstream autoresearch writes it to results.tsv."""
        if self.kept:
            return "keep"
        return "crash" if self.failed else "discard"


def may_overrule(old: Verdict, new: Verdict) -> bool:
    """Return whether a verdict would change anything in place of another one."""
    return new != old and not (new.kept and old.kept)


def already(verdict: Verdict) -> str:
    """Return the end of a sentence which says that an experiment has this verdict."""
    return f"is already {'kept' if verdict.kept else verdict.words}"
