"""The gain of a run so far, and the scores of its experiments on one scale. Pure.

The mean scores of two commits cannot be compared if they were measured on different seeds: the luck of the seeds can be larger
than the difference. So the scores that people see are those of the start plus paired changes. They agree with the verdicts,
which come from pairs.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from core.judging import pairing, policy
from core.record.experiment import Experiment
from core.record.state import State
from core.target import TARGET

VISIBLE = 5e-5  # smaller differences do not show in four digits, in bpb


@dataclass(frozen=True)
class Difference:
    """The scores of the start and the best of a run.

    Attributes:
        start: val_bpb of the start.
        best: val_bpb of the best.
        error: Standard error of `change`, in bpb; 0 if both are the same train.py.
        seeds: Number of pairs of the two; 0 if they are compared through the changes between them.
    """

    start: float
    best: float
    error: float
    seeds: int

    @property
    def change(self) -> float:
        """val_bpb of the best minus that of the start. Negative is better."""
        return self.best - self.start


class Contrast(NamedTuple):
    """One train.py against another: the difference of their val_bpb and its standard error, both in bpb, and the number of pairs
    of the two; 0 if they are compared through the changes between them.
    """

    change: float
    error: float
    seeds: int


class Place(NamedTuple):
    """Where a commit lies on the scale: its val_bpb, the variance of its difference from the start in squares of the noise of one
    score, and the number of pairs with the start.
    """

    score: float
    variance: float
    pairs: int


def so_far(state: State, sigma: float) -> Difference | None:
    """Return the gain of a run so far, from the scores of the keep rule. None before the start has a score.

    The changes were kept because of these scores, so they are a little too good. The final check has none of this bias.

    Args:
        state: The state of the run.
        sigma: Noise of one score, in bpb.
    """
    start, best = start_score(state), Scale(state).place(state.incumbent)
    if start is None or best is None:
        return None
    return Difference(start, best.score, sigma * math.sqrt(best.variance), best.pairs)


def start_score(state: State) -> float | None:
    """Return the mean val_bpb of the start; None before it was measured."""
    return state.mean(state.start_commit.commit) if state.start_commit else None


class Scale:
    """The scores of a run on one scale. It remembers those of commits, so it is only valid until the state changes."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._start = state.start_commit.commit if state.start_commit else ""
        self._kept = {e.kept_as: e for e in state.experiments.values() if e.kept_as}
        self._known: dict[str, Place | None] = {}
        if (score := start_score(state)) is not None:
            self._known[self._start] = Place(score, 0.0, len(state.scores.get(self._start, {})))

    def place(self, commit: str) -> Place | None:
        """Return where the start or a kept commit lies; None without a score.

        It is compared with the start on common seeds, or with its parent, whichever has the smaller standard error. A single pair
        with the start counts only without pairs with the parent: it would shift the step of one change far from its own pairs.
        """
        if commit in self._known:
            return self._known[commit]
        chain = [commit]  # the commit, and the ancestors whose place it needs and that is not known yet
        while (experiment := self._kept.get(chain[-1])) is not None and experiment.parent not in chain:
            if chain[-1] in self._known or self._is_nearest_to_start(experiment):
                break
            chain.append(experiment.parent)
        for each in reversed(chain):
            if each not in self._known:
                self._known[each] = self._placed(each)
        return self._known[commit]

    def _is_nearest_to_start(self, kept: Experiment) -> bool:
        """Return whether a kept experiment has as many pairs with the start as with its parent, and more than one.

        No way by the parent has a smaller standard error then, so where the parent lies does not matter.
        """
        if self._start not in self._known:
            return False
        pairs = len(_pairs(self._state, self._start, kept.kept_as))
        return pairs > 1 and pairs >= _change(self._state, kept)[1]

    def _placed(self, commit: str) -> Place | None:
        """Return where a commit lies, if the place of its parent is known."""
        places: list[Place] = []
        experiment = self._kept.get(commit)
        parent = self._known.get(experiment.parent) if experiment is not None else None
        if experiment is not None and parent is not None:
            change, count = _change(self._state, experiment)
            if change is not None:
                places.append(Place(parent.score + change, parent.variance + 2 / max(1, count), 0))
        start = self._known.get(self._start)
        if start is not None and len(pairs := _pairs(self._state, self._start, commit)) >= (2 if places else 1):
            places.insert(0, Place(start.score + _mean(pairs), 2 / len(pairs), len(pairs)))  # first: it wins a tie
        mean = self._state.mean(commit)
        unpaired = Place(mean, 2.0, 0) if mean is not None else None
        return min(places, key=lambda place: place.variance, default=unpaired)

    def score(self, commit: str) -> float | None:
        """Return val_bpb of the start or of a kept commit; None without a score."""
        place = self.place(commit)
        return place.score if place is not None else None

    def of(self, experiment: Experiment) -> float | None:
        """Return val_bpb of an experiment; None without a score of its own.

        For a kept one this is the score of its commit. For others it is the score of the parent plus the paired change.
        """
        if experiment.val_bpb is None or experiment.is_pending_retry:
            return None
        if experiment.kept_as:
            return self.score(experiment.kept_as)
        parent, change = self.score(experiment.parent), _change(self._state, experiment)[0]
        return parent + change if parent is not None and change is not None else experiment.val_bpb

    def change(self, experiment: Experiment) -> float | None:
        """Return the change of an experiment against its parent in bpb; a minus is better. None without a pair.

        For a kept one this is the step on the scale, so that the steps of all kept changes add up to the gain.
        """
        if experiment.kept_as:
            parent, own = self.score(experiment.parent), self.of(experiment)
            if parent is not None and own is not None:
                return own - parent
        return _change(self._state, experiment)[0]

    def error(self, experiment: Experiment, sigma: float) -> float | None:
        """Return the standard error of `change` in bpb. None without a pair. `sigma`: noise of one score, in bpb."""
        paired = self.paired(experiment, sigma)
        if paired is None or self.is_paired(experiment):
            return paired.error if paired is not None else None
        parent, own = self.place(experiment.parent), self.place(experiment.kept_as)
        assert parent is not None and own is not None  # else it is paired
        return sigma * math.sqrt(own.variance + parent.variance - self._common_start(experiment))

    def pairs(self, experiment: Experiment) -> int:
        """Return the number of pairs of an experiment and its parent that `change` is the mean of; 0 if it is a step on the scale."""
        return _change(self._state, experiment)[1] if self.is_paired(experiment) else 0

    def is_paired(self, experiment: Experiment) -> bool:
        """Return whether `change` is the mean over the pairs with the parent.

        For a kept change it may differ: its score and that of its parent are compared with the start, maybe on more seeds.
        """
        change, paired = self.change(experiment), _change(self._state, experiment)[0]
        return change is None or paired is None or abs(change - paired) < VISIBLE

    def paired(self, experiment: Experiment, sigma: float) -> Contrast | None:
        """Return an experiment against its parent over the pairs of the two. None without a pair. `sigma`: noise of one score, in bpb."""
        change, pairs = _change(self._state, experiment)
        if change is None:
            return None
        known = experiment.error if pairs == experiment.pairs else None
        return Contrast(change, policy.standard_error(max(1, pairs), sigma) if known is None else known, pairs)

    def _common_start(self, experiment: Experiment) -> float:
        """Return the variance of the scores of the start that the places of an experiment and of its parent share. It is not in their
        difference. 0 if one of the two is not compared with the start.
        """
        parent, own = self.place(experiment.parent), self.place(experiment.kept_as)
        if parent is None or own is None or not parent.pairs or not own.pairs or experiment.parent == self._start:
            return 0.0
        seeds = pairing.differences(self._state, self._start, experiment.parent).keys()
        shared = seeds & pairing.differences(self._state, self._start, experiment.kept_as).keys()
        return 2 * len(shared) / (parent.pairs * own.pairs)

    def contrast(self, first: Experiment | None, second: Experiment | None, sigma: float) -> Contrast | None:
        """Return the second experiment against the first. None without pairs that lead from one to the other.

        If one is the parent of the other, this is the change of the latter. Against the start, it is the difference on the scale. So
        these agree with the figures that people see elsewhere. Any other two are compared on common seeds or through the changes
        between them, whichever has the smaller standard error.

        Args:
            first: An experiment; None for the start.
            second: Another one.
            sigma: Noise of one score, in bpb.
        """
        first_commit, second_commit = (
            experiment.commit if experiment is not None else self._start for experiment in (first, second)
        )
        if first_commit == second_commit:
            return Contrast(0.0, 0.0, 0)
        if second is not None and second.parent == first_commit:
            return self._step(second, sigma)
        if first is not None and first.parent == second_commit:
            step = self._step(first, sigma)
            return step._replace(change=-step.change) if step is not None else None
        estimates: list[
            tuple[float, float, int]
        ] = []  # a difference, its variance in squares of the noise, and its pairs
        if first is not None and second is not None and (pairs := _pairs(self._state, first_commit, second_commit)):
            estimates.append((_mean(pairs), 2 / len(pairs), len(pairs)))
        here, there = self._paired(first), self._paired(second)
        if here is not None and there is not None:
            shared = 2 * self._shared(first, second)  # variance of what both have in common
            seeds = here.pairs + there.pairs if first is None or second is None else 0
            estimates.append((there.score - here.score, here.variance + there.variance - shared, seeds))
        if not estimates:
            return None
        change, variance, seeds = min(estimates, key=lambda each: each[1])
        return Contrast(change, sigma * math.sqrt(variance), seeds)

    def _step(self, experiment: Experiment, sigma: float) -> Contrast | None:
        """Return an experiment against its parent."""
        paired = self.paired(experiment, sigma)
        change, error = self.change(experiment), self.error(experiment, sigma)
        if paired is None or not paired.seeds or change is None or error is None:
            return None
        return Contrast(change, error, self.pairs(experiment))

    def _paired(self, experiment: Experiment | None) -> Place | None:
        """Return where an experiment, or the start, lies on the scale; None without pairs."""
        if experiment is None:
            start = self.place(self._start)
            return start._replace(pairs=0) if start is not None else None
        change, count = _change(self._state, experiment)
        if experiment.kept_as:
            placed = self.place(experiment.commit)
            return placed if placed is not None and (placed.pairs or count) else None
        parent = self.place(experiment.parent)
        if parent is None or change is None:
            return None
        return Place(parent.score + change, parent.variance + 2 / max(1, count), 0)

    def _shared(self, first: Experiment | None, second: Experiment | None) -> float:
        """Return the variance of the way that two experiments with the same parent share. 0 for a kept one, which may lie elsewhere."""
        if first is None or second is None or first.parent != second.parent or first.kept_as or second.kept_as:
            return 0.0
        parent = self.place(first.parent)
        return parent.variance if parent is not None else 0.0


def score(state: State, commit: str) -> float | None:
    """Return val_bpb of the start or of a kept commit on the scale of the run; None without a score."""
    return Scale(state).score(commit)


def experiment_score(state: State, experiment: Experiment) -> float | None:
    """Return val_bpb of an experiment on the scale of the run; None without a score."""
    return Scale(state).of(experiment)


def affected_numbers(state: State, measured: Collection[str]) -> set[int]:
    """Return the experiments whose score or change may be another one after new scores.

    These are the experiments with such a commit, and all descendants of those that were kept.

    Args:
        state: The state with the new scores.
        measured: The commits that were measured.
    """
    start = state.start_commit.commit if state.start_commit else ""
    moved = {start} & set(measured)
    for number in state.kept:
        experiment = state.experiments[number]
        if experiment.parent in moved or not {experiment.latest.commit, experiment.kept_as}.isdisjoint(measured):
            moved |= {experiment.latest.commit, experiment.kept_as}
    moved |= set(measured)
    return {
        number
        for number, experiment in state.experiments.items()
        if experiment.commit in moved or experiment.parent in moved
    }


def _change(state: State, experiment: Experiment) -> tuple[float | None, int]:
    """Return the paired change of an experiment against its parent in bpb, and its number of pairs.

    It is that of the verdict, or the present one if there is no verdict yet or further pairs were measured since.
    """
    judged = experiment.judged
    known = (TARGET.change(judged.gain), judged.pairs) if judged is not None and judged.gain is not None else None
    if known is not None and len(state.scores.get(experiment.commit, ())) <= known[1]:
        return known  # there cannot be further pairs, and looking for them costs time
    pairs = _pairs(state, experiment.parent, experiment.commit)
    if known is not None and len(pairs) <= known[1]:
        return known
    return (_mean(pairs), len(pairs)) if pairs else (None, 0)


def _pairs(state: State, first: str, second: str) -> list[float]:
    """Return the differences of two commits on their common seeds; only of comparable scores, if there are any."""
    return list(pairing.differences(state, first, second).values())


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


class OpenGain(NamedTuple):
    """What an open experiment has gained: the parent's commit, the mean paired gain and its standard error in bpb, and the seeds."""

    parent: str
    gain: float
    error: float
    seeds: tuple[int, ...]


def of_open(state: State, experiment: Experiment, sigma: float) -> OpenGain | None:
    """Return what an experiment without a verdict has gained over its parent; None without a pair.

    After it was re-applied to a newer incumbent, and until it has a pair there, that is its gain over the parent before.
    """
    both = (experiment.commit, experiment.parent), experiment.before
    for commit, parent in (one for one in both if one is not None):
        ours, theirs = pairing.paired_scores(state, commit, parent)
        gain = policy.paired_gain(ours, theirs)
        if gain is not None:
            seeds = tuple(seed for seed in ours if seed in theirs)
            return OpenGain(parent, gain, policy.standard_error(len(seeds), sigma), seeds)
    return None
