"""The gain of a run so far, and the scores of its experiments on one scale. Pure.

The mean scores of two commits cannot be compared if they were measured on different seeds: the luck of the seeds can be larger
than the difference. So the scores that people see are those of the start plus the paired change. They agree with the verdicts,
which come from pairs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from core.judging import policy
from core.record.experiment import Experiment
from core.record.state import State


@dataclass(frozen=True)
class Difference:
    """The scores of the start and the best of a run.

    Attributes:
        start: val_bpb of the start.
        best: val_bpb of the best.
        error: Standard error of `change`, in bpb.
        seeds: Number of pairs behind `change`; 0 if the two share no seed.
    """

    start: float
    best: float
    error: float
    seeds: int

    @property
    def change(self) -> float:
        """val_bpb of the best minus that of the start. Negative is better."""
        return self.best - self.start


def so_far(state: State, sigma: float) -> Difference | None:
    """Return the gain of a run so far, from the scores of the keep rule. None before the start has a score.

    The changes were kept because of these scores, so they are a little too good. The final check has none of this bias.

    Args:
        state: The state of the run.
        sigma: Noise of one score, in bpb.
    """
    start = start_score(state)
    if start is None or state.start_commit is None:
        return None
    if not state.kept:
        return Difference(start, start, 0.0, len(state.scores.get(state.incumbent, {})))
    best = score(state, state.incumbent)
    if best is None:
        return None
    ours, theirs = (state.scores.get(commit, {}) for commit in (state.incumbent, state.start_commit.commit))
    pairs = len(_pairs(state, state.start_commit.commit, state.incumbent))
    error = sigma * math.sqrt(2 / pairs if pairs else 1 / max(1, len(ours)) + 1 / max(1, len(theirs)))
    return Difference(start, best, error, pairs)


def start_score(state: State) -> float | None:
    """Return the mean val_bpb of the start; None before it was measured."""
    return state.mean(state.start_commit.commit) if state.start_commit else None


class Scale:
    """The scores of a run on one scale. It remembers those of commits, so it is only valid until the state changes."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._commits = state.commits
        self._positions = {commit: position for position, commit in enumerate(self._commits)}
        self._kept = set(state.kept)
        self._known: dict[str, float | None] = {}

    def score(self, commit: str) -> float | None:
        """Return val_bpb of the start or of a kept commit; None without a score.

        A commit that shares no seed with the start is compared with the commit before it.
        """
        if commit not in self._known:
            self._known[commit] = self._score(commit)
        return self._known[commit]

    def _score(self, commit: str) -> float | None:
        state, position = self._state, self._positions.get(commit)
        start = start_score(state)
        if position is None:
            return state.mean(commit)
        if position == 0 or start is None:
            return start
        if pairs := _pairs(state, self._commits[0], commit):
            return start + _mean(pairs)
        before = self.score(self._commits[position - 1])
        gain = state.experiments[state.kept[position - 1]].gain
        return before - gain if before is not None and gain is not None else state.mean(commit)

    def of(self, experiment: Experiment) -> float | None:
        """Return val_bpb of an experiment; None without a score.

        For a kept one this is the score of its commit. For others it is the score of the parent plus the paired change.
        """
        if experiment.val_bpb is None:
            return None
        if experiment.kept_as and experiment.number in self._kept:
            return self.score(experiment.kept_as)
        parent, change = self.score(experiment.parent), change_from_parent(self._state, experiment)
        return parent + change if parent is not None and change is not None else experiment.val_bpb


def score(state: State, commit: str) -> float | None:
    """Return val_bpb of the start or of a kept commit on the scale of the run; None without a score."""
    return Scale(state).score(commit)


def experiment_score(state: State, experiment: Experiment) -> float | None:
    """Return val_bpb of an experiment on the scale of the run; None without a score."""
    return Scale(state).of(experiment)


def change_from_parent(state: State, experiment: Experiment) -> float | None:
    """Return the paired change of an experiment in bpb, a minus is better: that of its verdict, or before that the present one."""
    if experiment.gain is not None:
        return -experiment.gain
    pairs = _pairs(state, experiment.parent, experiment.commit)
    return _mean(pairs) if pairs else None


def _pairs(state: State, one: str, other: str) -> list[float]:
    """Return the differences of two commits on their common seeds; only of comparable scores, if there are any."""
    first, second = state.scores.get(one, {}), state.scores.get(other, {})
    shared = [seed for seed in first if seed in second]
    here, there = state.conditions.get(one, {}), state.conditions.get(other, {})
    chosen = [seed for seed in shared if _comparable(state, here, there, seed)] or shared
    return [second[seed] - first[seed] for seed in chosen]


def _comparable(
    state: State, one: Mapping[int, policy.Conditions], other: Mapping[int, policy.Conditions], seed: int
) -> bool:
    """Return whether two scores form a pair. Journals of earlier versions have no conditions."""
    if state.config is None or seed not in one or seed not in other:
        return True
    return policy.comparable(one[seed], other[seed], state.config.device)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
