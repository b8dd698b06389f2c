"""The final check: the start and the best of a run, measured afresh. Pure.

Both are trained on seeds that no verdict used, and scored on the test split, which no experiment has seen. The kept changes were
chosen by their scores, so these scores flatter them a little. The scores of the final check do not.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from core.judging import policy
from core.judging.schedule import MAX_MACHINE_RETRIES, Work
from core.model import Role
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
    def holds(self) -> bool:
        """Whether the best is better by more than the noise."""
        return self.change < -CLEAR * self.error


def wanted(state: State, seeds: int = SEEDS) -> Iterator[Work]:
    """Yield the trainings that the final check still needs and that are not running, in pairs that are close in time.

    Nothing is wanted before a change was kept, and while another training runs or an experiment waits for its verdict. A commit
    that failed too often is given up.
    """
    if state.config is None or state.start_commit is None or not state.kept:
        return
    if any(launched.role is not Role.FINAL for launched in state.running.values()):
        return
    both = (state.start_commit.commit, state.incumbent)
    running = {(launched.commit, launched.seed) for launched in state.running.values()}
    if any(state.final_failures.get(commit, 0) >= MAX_MACHINE_RETRIES for commit in both):
        return
    for index in range(seeds):
        seed = policy.seed(state.config.seed, FIRST + index)
        for commit in both if index % 2 == 0 else reversed(both):  # neither is always first
            if seed not in state.finals.get(commit, {}) and (commit, seed) not in running:
                yield Work(Role.FINAL, commit, seed)


def outcome(state: State, sigma: float) -> FinalCheck | None:
    """Return what the final check of the incumbent has found so far, None without a pair.

    Args:
        state: The state of the run.
        sigma: Noise of one measurement, in bpb.
    """
    if state.start_commit is None or not state.kept:
        return None
    start, best = (state.finals.get(commit, {}) for commit in (state.start_commit.commit, state.incumbent))
    shared = start.keys() & best.keys()
    if not shared:
        return None
    n = len(shared)
    mean_start, mean_best = (sum(scores[seed] for seed in shared) / n for scores in (start, best))
    scatter = statistics.stdev(best[seed] - start[seed] for seed in shared) if n > 2 else 0.0
    return FinalCheck(mean_start, mean_best, error=max(sigma * math.sqrt(2), scatter) / math.sqrt(n), seeds=n)
