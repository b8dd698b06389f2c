"""The noise of a run, estimated from its state. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from core.judging import pairing
from core.judging.noise import Noise
from core.record.experiment import Experiment
from core.record.revisions import Revisions
from core.record.state import Scored, State


class Entry(NamedTuple):
    """The scores of an experiment that form pairs with its parent's, on one group of nodes."""

    parent: str
    group: str
    key: int  # equal for experiments on one commit, which count once
    scores: Mapping[int, float]


def noise(state: State) -> Noise:
    """Estimate the noise of one measurement from the profile's prior and the repeated measurements of the run."""
    parents: dict[str, Mapping[str, Scored]] = {}  # many experiments have the same parent
    return _estimate(state, (entry for e in state.experiments.values() for entry in _entries(state, e, parents)))


class RunNoise:
    """The same for a run that goes on: what has not changed since the last call is not looked at again.

    Args:
        state: The state of the run.
        revisions: Those of its experiments.
    """

    def __init__(self, state: State, revisions: Revisions) -> None:
        self._state, self._revisions = state, revisions
        self._entries: dict[int, tuple[int, tuple[Entry, ...]]] = {}  # experiment -> its revision, and what follows
        self._found: tuple[int, Noise] | None = None  # the revision of the scores, and the noise

    @property
    def present(self) -> Noise:
        """The noise of one measurement as the state tells it now."""
        if self._found is None or self._found[0] != self._revisions.scores:
            self._found = (self._revisions.scores, self._estimated())
        return self._found[1]

    def _estimated(self) -> Noise:
        parents: dict[str, Mapping[str, Scored]] = {}
        for number, experiment in self._state.experiments.items():
            revision = self._revisions.of(number)
            known = self._entries.get(number)
            if known is None or known[0] != revision:
                self._entries[number] = (revision, tuple(_entries(self._state, experiment, parents)))
        return _estimate(
            self._state, (entry for number in self._state.experiments for entry in self._entries[number][1])
        )


def _entries(state: State, experiment: Experiment, parents: dict[str, Mapping[str, Scored]]) -> Iterable[Entry]:
    """Yield the entries of an experiment. `parents`: scores by group of the parents that were looked at before."""
    commit, parent = experiment.commit, experiment.parent
    if not (scores := state.scores.get(commit)):
        return
    if (theirs := parents.get(parent)) is None:
        theirs = parents[parent] = pairing.by_group(state, parent)
    for group, ours in pairing.by_group(state, commit).items():
        there = theirs[group].conditions if group in theirs else {}
        lone = [s for s in ours.scores if not pairing.comparable(state, ours.conditions.get(s), there.get(s))]
        paired = {seed: value for seed, value in ours.scores.items() if seed not in lone} if lone else ours.scores
        if paired:
            yield Entry(parent, group, id(scores), paired)


def _estimate(state: State, entries: Iterable[Entry]) -> Noise:
    assert state.config is not None
    families: dict[tuple[str, str], dict[int, Mapping[int, float]]] = {}  # of a parent and a group of nodes
    for parent, group, key, scores in entries:
        families.setdefault((parent, group), {})[key] = scores
    # One version only: others on the same seeds, with mostly the same code, would repeat the same scatter.
    versions = (scored.scores for commit in state.commits for scored in pairing.by_group(state, commit).values())
    repeats = max(versions, key=len, default={})
    return Noise.estimate(
        state.config.noise_prior,
        tuple(repeats.values()),
        [(_on(state, parent, group), tuple(found.values())) for (parent, group), found in families.items()],
    )


def _on(state: State, commit: str, group: str) -> Mapping[int, float]:
    """Return the scores of a commit on a group of nodes."""
    found = pairing.by_group(state, commit).get(group)
    return found.scores if found is not None else {}
