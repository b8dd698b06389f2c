"""What the loop, the judgement and the app know of the file that is edited, and of the metric that tells which is better."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from core.model import Value
from core.target.book import Entry
from nanochat.contract.job import CrashClass

Values = Mapping[str, Value]


class ContractError(Exception):
    """A file does not keep the training contract. The message is written for a model to act on; `crash` classifies it."""

    def __init__(self, message: str, crash: CrashClass) -> None:
        super().__init__(message)
        self.crash = crash


@dataclass(frozen=True)
class Target:
    """The file that agents edit, and what is particular to it.

    Attributes:
        path: Where it lies in the source tree.
        metric: The name of its score, as people read it.
        unit: The unit of a difference between two scores.
        topics: What its parts are about, by name: what else each topic is called.
        areas: What a language model is pointed at in turn, as phrases.
        knob_topics: Topics with what the names of their knobs contain; the first that fits is taken.
        other_topic: The topic of all other knobs, one of `topics`.
        impacts: How much a knob tends to matter when the time is short, next to the others of its topic; 1 where it is not listed.
        words: Knobs whose values are words, with those that make sense.
        book: Structural edits, ideas from the literature.
        parse: Parses a source and checks the training contract. Raises ContractError.
        misfit: Says why the values of all knobs do not fit each other; "" where they do.
        inactive_knobs: Knobs that change nothing while the others are as they are.
        follow: Adds to changed values what must change along, given all present values.
    """

    path: str
    metric: str
    unit: str
    topics: Mapping[str, tuple[str, ...]]
    areas: tuple[str, ...]
    knob_topics: tuple[tuple[str, tuple[str, ...]], ...]
    other_topic: str
    impacts: Mapping[str, float]
    words: Mapping[str, tuple[str, ...]]
    book: tuple[Entry, ...]
    parse: Callable[[str], ast.Module]
    misfit: Callable[[Values], str]
    inactive_knobs: Callable[[Values], set[str]]
    follow: Callable[[dict[str, Value], Values], dict[str, Value]]

    def improvement(self, before: float, after: float) -> float:
        """By how much a score is better than another, positive is better. The lower score is the better one."""
        return before - after

    def topic_of(self, knob: str) -> str:
        """The topic that a knob belongs to."""
        return next(
            (topic for topic, marks in self.knob_topics if any(mark in knob for mark in marks)), self.other_topic
        )
