"""Counts the changes of each experiment, so that what follows from one that has not changed need not be computed again. Pure.

The state of a run is large after thousands of experiments, and an event changes few of them. Who keeps something that was computed
from an experiment also keeps its revision, and computes it again when the revision is another one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

from core.record import events as ev
from core.record.experiment import Experiment
from core.record.state import State


class Revisions:
    """The revisions of the experiments of a run, and of its scores as a whole. A revision only grows.

    A revision may grow although nothing has changed, but never the other way round.

    Args:
        state: The state of the run. `note` must be called after each further event.

    Attributes:
        scores: The revision of the scores that experiments and the commits on the branch have.
        scale: The revision of what places kept commits on the scale of the run.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._count = self._everything = self.scores = self.scale = 1
        self._of: dict[int, int] = {}
        self._using: defaultdict[str, set[int]] = defaultdict(set)  # commit -> experiments that have or change it
        self._children: defaultdict[str, set[int]] = defaultdict(set)  # commit -> experiments that change it
        self._judged: set[int] = set()
        for experiment in state.experiments.values():
            self._index(experiment)
            if experiment.judged is not None:
                self._judged.add(experiment.number)

    def of(self, number: int) -> int:
        """Return the revision of an experiment: of its own fields, and of the scores that it is compared with."""
        return max(self._everything, self._of.get(number, 0))

    @property
    def parents(self) -> Collection[str]:
        """The commits that experiments change, and those that they changed before they were applied to a new best."""
        return self._children.keys()

    def children(self, parents: Iterable[str]) -> list[int]:
        """Return the experiments that change one of these commits or did so before, in the order of their numbers."""
        return sorted({number for parent in parents for number in self._children.get(parent, ())})

    def note(self, event: ev.AnyEvent) -> None:
        """Count what an event has changed. The state has the event already."""
        self._count += 1
        changed = self._changed(event)
        if changed is None:
            self._everything = self.scores = self.scale = self._count
            return
        for number in changed:
            self._of[number] = self._count
        if len(changed) > 1 or any(self._state.experiments[number].kept_as for number in changed):
            self.scale = self._count

    def _changed(self, event: ev.AnyEvent) -> Collection[int] | None:
        """Return the experiments that an event may have changed; None for all."""
        match event:
            case ev.Measured():
                return self._measured(event)
            case ev.Judged():
                return self._verdict(event)
            case ev.Proposed():
                self._index(self._state.experiments[event.number])
                if event.commit in self._state.scores:
                    self.scores = self._count
                return (event.number,)
            case ev.Revised() | ev.Rebased():
                experiment = self._state.experiments[event.number]
                self._index(experiment)
                self.scores = self._count
                return self._affected(*experiment.attempts)
            case ev.Approved():
                return (event.number,)
            case ev.Launched():
                return (event.number,) if event.number is not None else ()
            case ev.TakenBack():
                hints = self._state.all_hints
                skipped = hints[event.number - 1].skipped if 1 <= event.number <= len(hints) else None
                return (skipped,) if skipped in self._state.experiments else ()
            case ev.Created() | ev.StartCommit() | ev.Grouped():
                return None
            case _:
                return ()

    def _measured(self, event: ev.Measured) -> Collection[int] | None:
        own = {event.number} & self._state.experiments.keys() if event.number is not None else set()
        if not event.scored or event.role.is_check:
            return own
        self.scores = self._count
        if event.commit in self._state.start_commits:
            return None  # kept commits are compared with the start
        return own | self._affected(event.commit)

    def _verdict(self, event: ev.Judged) -> Collection[int] | None:
        experiment = self._state.experiments[event.number]
        before = event.number in self._judged
        self._judged.add(event.number)
        self._index(experiment)  # a kept one has a further commit
        if before:
            return None  # a human has overruled a verdict
        if not event.verdict.kept:
            return (event.number,)
        self.scores = self._count
        return self._affected(event.commit, *experiment.attempts)

    def _index(self, experiment: Experiment) -> None:
        number, parent = experiment.number, experiment.parent
        self._children[parent].add(number)
        for commit in (parent, *experiment.attempts, *((experiment.kept_as,) if experiment.kept_as else ())):
            self._using[commit].add(number)

    def _affected(self, *commits: str) -> set[int]:
        """Return the experiments that have or change one of these commits, and all descendants of those that were kept."""
        found, done, left = set[int](), set[str](), list(commits)
        while left:
            commit = left.pop()
            if commit in done:
                continue
            done.add(commit)
            for number in self._using.get(commit, ()):
                found.add(number)
                experiment = self._state.experiments[number]
                if experiment.kept_as:
                    left += (experiment.kept_as, experiment.latest.commit)
        return found
