"""Ablations: which kept changes are taken out of the best once more. Pure.

A kept change may stop helping, since later changes interact with it, and a combination can have parts that do nothing. Each
kept change is taken out at most once in a run, so ablations end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, takewhile

from core.record.experiment import Experiment
from core.record.state import State
from core.verdicts import Verdict

RECENT = 5  # verdicts; a clear keep that is not older has met hardly any other change
CLEAR_Z = 6.0  # standard errors of a clear gain


@dataclass(frozen=True)
class KeptChange:
    """One change on the run's branch.

    Attributes:
        number: The experiment that made it.
        part: Its place in a combination, from 1, or 0 for the whole experiment.
        name: The name of the part, or "".
        old: A commit with the train.py before it.
        new: The commit with it.
    """

    number: int
    part: int
    name: str
    old: str
    new: str

    @property
    def key(self) -> tuple[int, int]:
        return self.number, self.part

    @property
    def words(self) -> str:
        """What it is called, such as "#12, part 2"."""
        return f"#{self.number}, part {self.part}" if self.part else f"#{self.number}"


def outstanding(state: State) -> tuple[KeptChange, ...]:
    """Return the kept changes that are still to be taken out once, the oldest first."""
    done = {e.notes.without for e in state.experiments.values()}
    return tuple(change for change in _candidates(state) if change.key not in done)


def _candidates(state: State) -> Iterator[KeptChange]:
    for number in state.kept:
        experiment = state.experiments[number]
        # A simplification is not there for its gain, what the human decided stays, and an ablation adds nothing.
        if experiment.verdict is not Verdict.KEEP or experiment.by or experiment.notes.without:
            continue
        if experiment.parts:
            old = experiment.parent
            for place, part in enumerate(experiment.parts, 1):
                yield KeptChange(number, place, part.name, old, part.commit)
                old = part.commit
        elif number != state.kept[-1] and not _clear(state, experiment):  # the last one was just compared with this
            yield KeptChange(number, 0, "", experiment.parent, experiment.commit)


def _clear(state: State, experiment: Experiment) -> bool:
    """Return whether a keep is recent and its gain large."""
    if (experiment.gain or 0.0) <= CLEAR_Z * (experiment.error or 0.0):
        return False
    later = takewhile(lambda number: number > experiment.number, reversed(state.experiments))
    judged = (number for number in later if state.experiments[number].verdict is not None)
    return sum(1 for _ in islice(judged, RECENT)) < RECENT
