"""The final check: the start and the best of a run, measured afresh. Also the same with a longer budget. Pure.

Both are trained on seeds that no verdict used, and scored on the test split, which no experiment has seen. The kept changes were
chosen by their scores, so these scores are a little too good. The final check has none of this bias.

A change can help only within the budget that it was found with. The longer check shows that.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from core.judging import gain, pairing, policy
from core.judging.gain import Difference
from core.judging.schedule import Work
from core.model import Role
from core.record.fold import CHECK_TRIES
from core.record.state import Check, State
from core.target import TARGET

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


def next_work(state: State, seeds: int = SEEDS, role: Role = Role.FINAL) -> Iterator[Work]:
    """Yield the trainings that a check still needs and that are not running, in pairs that are close in time.

    Nothing is wanted before a change was kept, and while another training runs. A seed on which one of the two failed is left out.
    If the machine's speed has changed too much between the two, the earlier one is trained again. The same applies if they were trained
    on nodes that give different scores. If there are such nodes, the second of a pair is trained after the first, on its node.
    """
    if state.config is None or state.start_commit is None or not state.kept:
        return
    if any(launched.role is not role for launched in state.running.values()):
        return
    both, check = (state.start_commit.commit, state.incumbent), state.check(role)
    first = FIRST if role is Role.FINAL else FIRST_LONGER
    running = {(launched.commit, launched.seed) for launched in state.running.values()}
    several = pairing.has_several_groups(state)
    for index in range(seeds):
        seed = policy.seed(state.config.seed, first + index)
        lacking = _lacking(state, check, seed)
        ordered = lacking if index % 2 == 0 else lacking[::-1]  # neither is always first
        nodes = _nodes(state, check, seed, [commit for commit in both if commit not in lacking])
        for commit in ordered[:1] if several else ordered:
            if (commit, seed) not in running:
                yield Work(role, commit, seed, nodes=nodes)


def _lacking(state: State, check: Check, seed: int) -> list[str]:
    """Return which of the two are still to be trained on a seed. None if one of them has failed there too often."""
    assert state.start_commit is not None
    both = (state.start_commit.commit, state.incumbent)
    lacking = [commit for commit in both if seed not in check.scores.get(commit, {})]
    if not lacking and not _comparable(state, check, seed):
        lacking = [min(both, key=lambda commit: check.conditions[commit][seed].turn)]
    return [] if any(check.tries.get((commit, seed), 0) >= CHECK_TRIES for commit in lacking) else lacking


def _nodes(state: State, check: Check, seed: int, measured: list[str]) -> tuple[str, ...]:
    """Return the nodes on which a score on a seed would form a pair with that of the commit that has one, if any."""
    conditions = [check.conditions.get(commit, {}).get(seed) for commit in measured]
    return pairing.nodes_in_groups(state, [condition.node for condition in conditions if condition is not None])


def _comparable(state: State, check: Check, seed: int) -> bool:
    """Return whether the start's and the best's scores on a seed form a pair."""
    assert state.start_commit is not None
    both = (state.start_commit.commit, state.incumbent)
    here, there = (check.conditions.get(commit, {}).get(seed) for commit in both)
    return pairing.comparable(state, here, there)


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
    check = state.check(role)
    start, best = (check.scores.get(commit, {}) for commit in (state.start_commit.commit, state.incumbent))
    shared = [seed for seed in start if seed in best and _comparable(state, check, seed)]
    times = {
        seed: max(by_seed[seed].t for by_seed in check.conditions.values() if seed in by_seed)
        for seed in shared
        if math.isfinite(until_t)
    }
    shared = [seed for seed in shared if times.get(seed, 0.0) <= until_t]
    if not shared:
        return None
    n = len(shared)
    mean_start, mean_best = (sum(scores[seed] for seed in shared) / n for scores in (start, best))
    scatter = statistics.stdev(best[seed] - start[seed] for seed in shared) if n > 2 else 0.0
    return FinalCheck(
        mean_start,
        mean_best,
        error=max(sigma * math.sqrt(2), scatter) / math.sqrt(n),
        seeds=n,
        wanted=n + _pending(state, check, role, shared),
        chosen=gain.so_far(state, sigma) if role is Role.FINAL else None,
    )


def _pending(state: State, check: Check, role: Role, measured: list[int]) -> int:
    """Return how many seeds are still to be measured."""
    assert state.config is not None
    planned = (state.started.final_seeds if state.started is not None and role is Role.FINAL else 0) or SEEDS
    first = FIRST if role is Role.FINAL else FIRST_LONGER
    seeds = {policy.seed(state.config.seed, first + index) for index in range(planned)} - set(measured)
    return max(0, min(sum(bool(_lacking(state, check, seed)) for seed in seeds), planned - len(measured)))
