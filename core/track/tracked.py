"""An experiment as trackers get it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from core.model import Value


class Point(NamedTuple):
    """A point of a training curve: the step, the share of the budget used by then, and the values of that step by name."""

    step: int
    progress: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Tracked:
    """The start or an experiment of a run, as one run of a tracker.

    Attributes:
        id: Made from the id of the run and the number of the experiment, so it is the same in every export.
        group: What all experiments of the run have in common: its name and the beginning of its id.
        number: The number of the experiment; 0 for the start.
        title: A short name of the change.
        verdict: The verdict; "start" for the start.
        failed: Whether it got no score because of its own code.
        notes: Hypothesis and finding.
        config: Knobs of train.py, what was proposed, the verdict, and the settings of the run.
        summary: The score and other figures.
        curve: The curve of the first training, with increasing steps. Empty if its file is gone.
        begun_t: When that training began, in seconds since the epoch.
        ended_t: When it ended.
    """

    id: str
    group: str
    number: int
    title: str
    verdict: str
    failed: bool
    notes: str
    config: Mapping[str, Value]
    summary: Mapping[str, float]
    curve: tuple[Point, ...]
    begun_t: float
    ended_t: float

    @property
    def name(self) -> str:
        """The number and the title."""
        return f"#{self.number} {self.title}" if self.number else self.title
