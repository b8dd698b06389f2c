"""The final check: the start and the best of a run, measured afresh. Pure.

Both are trained on seeds that no verdict used, and scored on the test split, which no experiment has seen. The kept changes were
chosen by their scores, so these scores are a little too good. The final check has none of this bias.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from core.judging import policy
from core.judging.schedule import Work
from core.model import Role
from core.record.fold import FINAL_TRIES
from core.record.state import State

SEEDS = 3  # pairs of trainings in a final check
FIRST = 1000  # index of the first seed; no verdict uses that many
CLEAR = 2.0  # standard errors from which the change is beyond the noise


@dataclass(frozen=True)
class FinalCheck:
    """The outcome. `start` and `best` are means over the seeds, in bpb on the test split."""

    start: float
    best: float
    error: float  # standard error of `change`: from the run's noise, or from these pairs if they scatter more
    seeds: int

    @property
    def change(self) -> float:
        """Bits per byte of the best minus those of the start. Negative is better."""
        return self.best - self.start

    @property
    def needed(self) -> float:
        """The smallest change, in bpb, that is beyond the noise."""
        return CLEAR * self.error

    @property
    def holds(self) -> bool:
        """Whether the best is better by more than the noise."""
        return self.change < -self.needed


def wanted(state: State, seeds: int = SEEDS) -> Iterator[Work]:
    """Yield the trainings that the final check still needs and that are not running, in pairs that are close in time.

    Nothing is wanted before a change was kept, and while another training runs. A seed on which one of the two failed is left out.
    Where the machine's speed has changed too much between the two, the earlier one is trained again.
    """
    if state.config is None or state.start_commit is None or not state.kept:
        return
    if any(launched.role is not Role.FINAL for launched in state.running.values()):
        return
    both = (state.start_commit.commit, state.incumbent)
    running = {(launched.commit, launched.seed) for launched in state.running.values()}
    for index in range(seeds):
        seed = policy.seed(state.config.seed, FIRST + index)
        lacking = [commit for commit in both if seed not in state.finals.get(commit, {})]
        if not lacking and not _comparable(state, seed):
            here = [state.final_conditions[commit][seed].turn for commit in both]
            lacking = [both[here.index(min(here))]]
        if any(state.final_tries.get((commit, seed), 0) >= FINAL_TRIES for commit in lacking):
            continue
        for commit in lacking if index % 2 == 0 else reversed(lacking):  # neither is always first
            if (commit, seed) not in running:
                yield Work(Role.FINAL, commit, seed)


def _comparable(state: State, seed: int) -> bool:
    """Return whether the start's and the best's scores on a seed form a pair. Earlier versions did not note the machine's speed."""
    assert state.config is not None and state.start_commit is not None
    here, there = (
        state.final_conditions.get(commit, {}).get(seed) for commit in (state.start_commit.commit, state.incumbent)
    )
    return here is None or there is None or policy.comparable(here, there, state.config.device)


def outcome(state: State, sigma: float) -> FinalCheck | None:
    """Return what the final check of the incumbent has found so far, None without a pair.

    Args:
        state: The state of the run.
        sigma: Noise of one measurement, in bpb.
    """
    if state.config is None or state.start_commit is None or not state.kept:
        return None
    start, best = (state.finals.get(commit, {}) for commit in (state.start_commit.commit, state.incumbent))
    shared = [seed for seed in start if seed in best and _comparable(state, seed)]
    if not shared:
        return None
    n = len(shared)
    mean_start, mean_best = (sum(scores[seed] for seed in shared) / n for scores in (start, best))
    scatter = statistics.stdev(best[seed] - start[seed] for seed in shared) if n > 2 else 0.0
    return FinalCheck(mean_start, mean_best, error=max(sigma * math.sqrt(2), scatter) / math.sqrt(n), seeds=n)
