"""The final check: the start and the best of a run, measured afresh. Also the same with a longer budget. Pure.

Both are trained on seeds that no verdict used, and scored on the test split, which no experiment has seen. The kept changes were
chosen by their scores, so these scores are a little too good. The final check has none of this bias.

On request, the kept changes between the two are trained as well, so that each one is measured against the best before it.

A change can help only within the budget that it was found with. The longer check shows that.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from core.judging import gain, pairing, policy
from core.judging.gain import Difference
from core.judging.pairing import Pair
from core.judging.schedule import Work
from core.model import Role
from core.record.experiment import Conditions
from core.record.fold import CHECK_TRIES
from core.record.state import Check, State
from core.target import TARGET
from core.verdicts import Verdict

SEEDS = 3  # pairs of trainings in a final check
FIRST = 1000  # index of the first seed; no verdict uses that many
FIRST_LONGER = 2000
LONGER = 3.0  # budgets of a training of the longer check
CLEAR = 2.0  # standard errors from which the change is beyond the noise


@dataclass(frozen=True)
class FinalCheck(Difference):
    """The outcome: means over fresh seeds, in bpb on the test split.

    `error` comes from the run's noise, or from these pairs if they scatter more.

    Attributes:
        wanted: Number of seeds, those that are still to be measured included; 0 if no more are.
        chosen: The gain of the run on the seeds of the keep rule, if it is to be compared with this one.
    """

    wanted: int = 0
    chosen: Difference | None = None

    @property
    def complete(self) -> bool:
        """Whether all seeds are measured. Before that there is no verdict."""
        return self.seeds >= self.wanted

    @property
    def needed(self) -> float:
        """The smallest change, in bpb, that is beyond the noise."""
        return CLEAR * self.error

    @property
    def holds(self) -> bool:
        """Whether the best is better by more than the noise, on all seeds."""
        return self.complete and TARGET.gain(self.change) > self.needed

    @property
    def is_worse(self) -> bool:
        """Whether the best is worse than the start by more than the noise, on all seeds."""
        return self.complete and TARGET.gain(self.change) < -self.needed

    @property
    def is_smaller(self) -> bool:
        """Whether the gain is clearly smaller than that of the run, by more than two standard errors of their difference."""
        if self.chosen is None or not self.complete:
            return False
        lost = TARGET.gain(self.chosen.change) - TARGET.gain(self.change)
        return lost > CLEAR * math.hypot(self.error, self.chosen.error)


@dataclass(frozen=True)
class Step(FinalCheck):
    """A kept change, measured afresh: `best` is its score, and `start` that of the best before it.

    Neighbouring steps share the scores of one train.py, so their errors are not independent.

    Attributes:
        is_simplification: Whether it was kept for its shorter code and not for a gain.
    """

    is_simplification: bool = False

    @property
    def holds(self) -> bool:
        """Whether it is better by more than the noise, on all seeds. A simplification holds if it is not worse by more than the noise."""
        return self.complete and not self.is_worse if self.is_simplification else super().holds


def next_work(state: State, seeds: int = SEEDS, role: Role = Role.FINAL, *, each: bool = False) -> Iterator[Work]:
    """Yield the trainings that a check still needs and that are not running. Those of a seed are close in time.

    Nothing is wanted before a change was kept, and while another training runs. A seed on which the start or the best failed is left
    out. If the machine's speed has changed too much between two that are compared, the earlier one is trained again. The same applies
    if they were trained on nodes that give different scores. If there are such nodes, the trainings of a seed follow each other, on the
    node of the first.

    Args:
        state: The state of the run.
        seeds: The number of fresh seeds.
        role: FINAL, or LONGER for that with a longer budget.
        each: Whether all kept changes are trained, and not only the last.
    """
    if state.config is None or state.start_commit is None or not state.kept:
        return
    if any(launched.role is not role for launched in state.running.values()):
        return
    commits, check = _commits(state, each=each), state.check(role)
    running = {(launched.commit, launched.seed) for launched in state.running.values()}
    several = pairing.has_several_groups(state)
    for index, seed in enumerate(_seeds(state.config.seed, role, seeds)):
        lacking = _lacking(state, check, seed, commits)
        ordered = [commit for commit in _folded(commits) if commit in lacking]
        if index % 2:
            ordered.reverse()  # so that none is always first
        measured = [one for one in commits if one not in lacking and not _given_up(check, one, seed)]
        nodes = _nodes(state, check, seed, measured)
        for commit in ordered[:1] if several else ordered:
            if (commit, seed) not in running:
                yield Work(role, commit, seed, nodes=nodes)


def _seeds(run: int, role: Role, count: int) -> list[int]:
    """Return the seeds of a check in a run with this seed."""
    first = FIRST if role is Role.FINAL else FIRST_LONGER
    return [policy.seed(run, first + index) for index in range(count)]


def _commits(state: State, *, each: bool = False) -> list[str]:
    """Return the commits that are trained: the start and the best, or with `each` the start and all kept changes, in order."""
    return state.commits if each else [state.commits[0], state.incumbent]


def _folded(commits: list[str]) -> list[str]:
    """Return the commits in an order in which all that are compared are at most two trainings apart.

    These are the neighbours, and the first and the last: a ring, which is laid flat.
    """
    half = (len(commits) + 1) // 2
    both = zip_longest(commits[:half], reversed(commits[half:]))
    return [commit for one in both for commit in one if commit is not None]


def _lacking(state: State, check: Check, seed: int, commits: list[str]) -> list[str]:
    """Return which of these commits are still to be trained on a seed. None if the first or the last has failed there too often."""
    lacking = {commit for commit in commits if seed not in check.scores.get(commit, {})}
    given_up = {commit for commit in commits if _given_up(check, commit, seed)}
    if lacking <= given_up:
        for both in {*pairwise(commits), (commits[0], commits[-1])}:
            if lacking.isdisjoint(both) and _pair(state, check, seed, *both) is None:
                lacking.add(min(both, key=lambda commit: check.conditions[commit][seed].turn))
    if lacking & given_up & {commits[0], commits[-1]}:
        return []
    return [commit for commit in commits if commit in lacking - given_up]


def _given_up(check: Check, commit: str, seed: int) -> bool:
    """Return whether a commit is not trained again on a seed."""
    return check.tries.get((commit, seed), 0) >= CHECK_TRIES


def _nodes(state: State, check: Check, seed: int, measured: list[str]) -> tuple[str, ...]:
    """Return the nodes on which a score on a seed would form a pair with that of the commits that have one, if any."""
    conditions = [check.conditions.get(commit, {}).get(seed) for commit in measured]
    return pairing.nodes_in_groups(state, [condition.node for condition in conditions if condition is not None])


def _pair(state: State, check: Check, seed: int, first: str, second: str) -> Pair | None:
    """Return the latest scores of two commits on a seed that form a pair, None without one."""
    ours, theirs = (_scores(check, commit, seed) for commit in (first, second))
    pairs = [
        Pair(one, other, here, there)
        for one, here in ours
        for other, there in theirs
        if pairing.comparable(state, here, there)
    ]
    # Of pairs with one score in common, the first is the latest.
    return max(pairs, key=lambda pair: pair.turn, default=None)


def _scores(check: Check, commit: str, seed: int) -> list[tuple[float, Conditions | None]]:
    """Return all scores of a commit on a seed with their conditions, the latest first."""
    latest = check.scores.get(commit, {}).get(seed)
    if latest is None:
        return []
    return [(latest, check.conditions.get(commit, {}).get(seed)), *reversed(check.replaced.get((commit, seed), []))]


def outcome(state: State, sigma: float, role: Role = Role.FINAL, until_t: float = math.inf) -> FinalCheck | None:
    """Return what a check of the incumbent has found so far, None without a pair.

    Args:
        state: The state of the run.
        sigma: Noise of one measurement, in bpb.
        role: FINAL, or LONGER for that with a longer budget.
        until_t: Seconds since the epoch; later scores do not count.
    """
    if state.config is None or state.start_commit is None or not state.kept:
        return None
    pairs = _pairs(state, state.check(role), *_commits(state))
    measured = {seed: pair for seed, pair in pairs.items() if _t(pair) <= until_t}
    if not measured:
        return None
    start, best, error = _means(measured.values(), sigma)
    wanted = len(measured) + _pending(state, state.check(role), role, measured)
    chosen = gain.so_far(state, sigma) if role is Role.FINAL else None
    return FinalCheck(start, best, error, len(measured), wanted, chosen)


def steps(state: State, sigma: float) -> dict[int, Step]:
    """Return what the final check has found about each kept change, as number -> step. Those without a pair are left out.

    A change has pairs if `next_work` was called with `each`, if it is the only one, or if two checks in turn had its parent and it as the best.

    Args:
        state: The state of the run.
        sigma: Noise of one measurement, in bpb.
    """
    if not state.kept or Role.FINAL not in state.checks:
        return {}
    check, found = state.check(Role.FINAL), dict[int, Step]()
    whole = _pairs(state, check, *_commits(state))
    for number in state.kept:
        experiment = state.experiments[number]
        both = experiment.parent, experiment.commit
        if pairs := _pairs(state, check, *both):
            missing = sum(bool(_lacking(state, check, seed, state.commits)) for seed in whole if seed not in pairs)
            start, best, error = _means(pairs.values(), sigma)
            simpler = experiment.verdict is Verdict.SIMPLIFICATION
            found[number] = Step(start, best, error, len(pairs), len(pairs) + missing, is_simplification=simpler)
    return found


def _pairs(state: State, check: Check, first: str, second: str) -> dict[int, Pair]:
    """Return the pairs of two commits, as seed -> pair."""
    pairs = {seed: _pair(state, check, seed, first, second) for seed in check.scores.get(first, {})}
    return {seed: pair for seed, pair in pairs.items() if pair is not None}


def _t(pair: Pair) -> float:
    """Return when a pair was complete, in seconds since the epoch. 0 if earlier versions did not note it."""
    return max(conditions.t if conditions is not None else 0.0 for conditions in (pair.here, pair.there))


def _means(pairs: Collection[Pair], sigma: float) -> tuple[float, float, float]:
    """Return the mean scores of both, and the standard error of their difference: from the run's noise, or from these pairs if they
    scatter more.
    """
    n = len(pairs)
    scatter = statistics.stdev(pair.other - pair.one for pair in pairs) if n > 2 else 0.0
    error = max(sigma * math.sqrt(2), scatter) / math.sqrt(n)
    return sum(pair.one for pair in pairs) / n, sum(pair.other for pair in pairs) / n, error


def _pending(state: State, check: Check, role: Role, measured: Collection[int]) -> int:
    """Return how many seeds are still to be measured."""
    assert state.config is not None
    both = _commits(state)
    planned = (state.started.final_seeds if state.started is not None and role is Role.FINAL else 0) or SEEDS
    others = [seed for seed in _seeds(state.config.seed, role, planned) if seed not in measured]
    return max(0, min(sum(bool(_lacking(state, check, seed, both)) for seed in others), planned - len(measured)))
