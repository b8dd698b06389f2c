"""The interface through which the loop, the judgement and the app know the edited file and its metric."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce

from core.model import Effect, RunConfig, Value
from core.target.entry import Entry
from nanochat.contract.job import CrashClass

Values = Mapping[str, Value]


class ContractError(Exception):
    """A file breaks the training contract. The message is written for a language model; `crash` classifies the error."""

    def __init__(self, message: str, crash: CrashClass) -> None:
        super().__init__(message)
        self.crash = crash


@dataclass(frozen=True)
class Measured:
    """What a recorded night or a benchmark has measured.

    Attributes:
        device: The device: cpu, cuda or mps.
        profiles: The profiles that it says something about.
        dataset: The dataset.
        budget_s: Training seconds for each experiment.
        noise: Noise of one score, in bpb.
        effects: The effect of each scored experiment.
    """

    device: str
    profiles: tuple[str, ...]
    dataset: str
    budget_s: float
    noise: float
    effects: tuple[Effect, ...]

    def about(self, config: RunConfig) -> bool:
        """Return whether it says something about runs on this device, with this profile and dataset."""
        return (config.device, config.dataset) == (self.device, self.dataset) and config.profile in self.profiles


@dataclass(frozen=True)
class Target:
    """The file that agents edit, and everything specific to it.

    Attributes:
        path: Its path in the source tree.
        metric: The name of its score, as people read it.
        unit: The unit of a difference between two scores.
        topics: Topic -> its other names.
        areas: Areas of the file that a language model is asked to look at in turn, as phrases.
        knob_topics: Topics, each with parts of the names of its knobs. The first match counts.
        knob_words: Words of people -> the knobs that they may mean. A single one is meant.
        other_topic: The topic of all other knobs, one of `topics`.
        impacts: Knob -> how much it usually matters in a short training, relative to others of its topic. Readers choose a default for others.
        words: Knobs whose values are strings, with sensible values.
        book: Structural edits from the literature.
        measured: What was measured elsewhere, from which a new run knows what to try first and what to leave.
        parse: Parses a source and checks the training contract. Raises ContractError.
        misfit: Returns why the values of all knobs do not fit each other, or "" if they do.
        inactive_knobs: Returns the knobs that have no effect with these values.
        follow: Takes changed values and all present values. Returns the changed values and those that must follow.
        lower_is_better: The direction of the score.
    """

    path: str
    metric: str
    unit: str
    topics: Mapping[str, tuple[str, ...]]
    areas: tuple[str, ...]
    knob_topics: tuple[tuple[str, tuple[str, ...]], ...]
    knob_words: Mapping[str, tuple[str, ...]]
    other_topic: str
    impacts: Mapping[str, float]
    words: Mapping[str, tuple[str, ...]]
    book: tuple[Entry, ...]
    measured: tuple[Measured, ...]
    parse: Callable[[str], ast.Module]
    misfit: Callable[[Values], str]
    inactive_knobs: Callable[[Values], set[str]]
    follow: Callable[[dict[str, Value], Values], dict[str, Value]]
    lower_is_better: bool = True

    def improvement(self, before: float, after: float) -> float:
        """Return by how much the score `after` is better than `before`; positive is better."""
        return self.gain(after - before)

    def gain(self, change: float) -> float:
        """Return the gain of a change of the score; positive is better."""
        return -change if self.lower_is_better else change

    def change(self, gain: float) -> float:
        """Return the change of the score that is this gain."""
        return -gain if self.lower_is_better else gain

    @property
    def direction(self) -> str:
        """Which scores are better, for the title of a chart."""
        return f"{'lower' if self.lower_is_better else 'higher'} is better"

    @property
    def better_sign(self) -> str:
        """Which sign of a change is better, for the title of a column."""
        return f"a {'minus' if self.lower_is_better else 'plus'} is better"

    def best(self, scores: Iterable[float]) -> float:
        """Return the best of these scores, at least one."""
        return reduce(lambda one, other: other if self.improvement(one, other) > 0 else one, scores)

    def topic_of(self, knob: str) -> str:
        """Return the topic of a knob."""
        return next(
            (topic for topic, marks in self.knob_topics if any(mark in knob for mark in marks)), self.other_topic
        )
