"""Panels: up to eleven changes trained together in a two-level design, so that each training says something about each of them.

The design is that of Plackett and Burman (1946) with twelve runs. Each run has about half of the changes. The run without any is
the best train.py itself. An effect is the mean of the runs with a change minus the mean of those without it, so its standard error
is 0.58 standard deviations of one score. A pair of scores has one of 1.41.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np
from simulated import SIGMA, Night

from core.agents.search.drafts import Knobs, settable
from core.agents.search.ideas import IDEAS, applied
from core.change import knobs
from core.judging import policy
from core.model import Notes, Proposal, Value

FIRST_RUN = "++-+++---+-"  # the next ten runs are its rotations
MOST = len(FIRST_RUN)  # changes in one panel


@dataclass(frozen=True)
class Single:
    """A single change: an idea of the book, or a new value of a knob.

    Attributes:
        name: The name of the idea or of the knob.
        value: The new value; None for an idea.
        up: Whether the new value is higher. It says nothing about an idea or a word.
    """

    name: str
    value: Value | None = None
    up: bool = False


@dataclass(frozen=True)
class Run:
    """A trained run of a panel.

    Attributes:
        changes: The changes that it has.
        proposal: The change of the best that they make together.
        version: The fingerprint of its train.py.
        seed: The seed that it was trained on.
        gain: Its gain over the best, in standard deviations of one score.
    """

    changes: frozenset[Single]
    proposal: Proposal
    version: str
    seed: int
    gain: float


def design() -> list[tuple[bool, ...]]:
    """Return the twelve runs: for each of the eleven changes, whether the run has it. The last run has none."""
    first = [sign == "+" for sign in FIRST_RUN]
    return [*(tuple(first[-shift:] + first[:-shift]) for shift in range(MOST)), (False,) * MOST]


def together(source: str, singles: Sequence[Single]) -> Proposal | None:
    """Return the proposal that makes these changes at once; None if they do not fit each other, or change nothing."""
    every = {knob.name: knob for knob in knobs.read(source)}
    known, changed = Knobs(every, every), source
    values = {one.name: one.value for one in singles if one.value is not None}
    if not values.keys() <= every.keys():
        return None
    fitting = settable(known, values)
    if any(fitting.get(name) != value for name, value in values.items()):
        return None
    names = tuple(one.name for one in singles if one.value is None)
    for name in names:
        found = applied(IDEAS[name], changed)
        if found is None:
            return None
        changed = found
    if changed != source and not fitting.keys() <= {knob.name for knob in knobs.read(changed)}:
        return None
    changed = knobs.set_knobs(changed, fitting)
    if changed == source:
        return None
    notes = Notes(knobs=fitting, edits=names, before={name: known.values_now[name] for name in fitting})
    words = ", ".join([*(f"{name} = {value}" for name, value in fitting.items()), *names])
    return Proposal(hypothesis=f"{words}.", source=changed, notes=notes)


def runs(singles: Sequence[Single]) -> list[list[Single]]:
    """Return the changes of each run but the last, without those runs that have none."""
    rows = ([one for one, on in zip(singles, row, strict=False) if on] for row in design())
    return [row for row in rows if row]


def fitting_together(source: str, pool: Sequence[Single]) -> list[Single]:
    """Return the first changes of the pool that make a panel: each of its runs is a train.py. At most eleven."""
    taken: list[Single] = []
    for one in pool:
        more = [*taken, one]
        if one.name not in {other.name for other in taken} and all(together(source, row) for row in runs(more)):
            taken = more
        if len(taken) == MOST:
            break
    return taken


def train(night: Night, singles: Sequence[Single]) -> list[Run]:
    """Train the runs of a panel on the best, all on the same seed. Each costs one training.

    The best has a score on that seed already, so the run without any change costs nothing.

    Returns:
        The runs that have a score.
    """
    best, found = night.incumbent, dict[str, Run]()
    seed = policy.order(night.scores[best], night.seed)[0]
    for changes in runs(singles):
        proposal = together(night.sources[best], changes)
        assert proposal is not None
        version = version_of(night, proposal)
        if seed in night.scores.get(version, {}) or night._measure(version, seed):
            gain = (night.scores[best][seed] - night.scores[version][seed]) / SIGMA
            found[version] = Run(frozenset(changes), proposal, version, seed, gain)
    return list(found.values())


def version_of(night: Night, proposal: Proposal) -> str:
    """Return the version that a proposal makes of the best."""
    assert proposal.source is not None
    return night._known(proposal.source, night.ideas[night.incumbent] | set(proposal.notes.edits or ()))


def effects(singles: Sequence[Single], trained: Sequence[Run]) -> list[tuple[float, float]]:
    """Return the effect of each change and its standard error, by least squares, in standard deviations of one score.

    Args:
        singles: The changes.
        trained: The runs that have a score. The run without any change is added, with a gain of 0.
    """
    rows = [[1.0, *(float(one in run.changes) for one in singles)] for run in trained]
    model = np.array([*rows, [1.0, *(0.0 for _ in singles)]])  # (runs, 1 + changes)
    gains = np.array([*(run.gain for run in trained), 0.0])  # (runs,)
    inverse = np.linalg.pinv(model.T @ model)
    values, errors = inverse @ model.T @ gains, np.sqrt(np.diag(inverse))
    return [(float(value), float(error)) for value, error in zip(values[1:], errors[1:], strict=True)]
