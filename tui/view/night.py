"""The data of the plot of a run: every experiment in order, and the best score so far."""

from __future__ import annotations

from dataclasses import dataclass

from core.judging.noise import Noise
from core.record.state import State

# How far above the staircase scores are shown, in multiples of the total gain and of the noise of one score.
GAINS_ABOVE, NOISES_ABOVE = 1.5, 3.0


@dataclass(frozen=True)
class Night:
    """Points (number, val_bpb). `stairs` is the best score so far, which only changes when an experiment is kept."""

    scored: tuple[tuple[int, float], ...]
    kept: tuple[tuple[int, float], ...]
    failed: tuple[int, ...]
    stairs: tuple[tuple[int, float], ...]
    sigma: float = 0.0  # noise of one score


def night_picture(state: State, noise: Noise | None) -> Night:
    """Return the points of all experiments. Number 0 is the baseline."""
    baseline = state.mean(state.start_commit.commit) if state.start_commit else None
    best, better = baseline, set(state.kept)
    scored: list[tuple[int, float]] = []
    kept: list[tuple[int, float]] = []
    failed: list[int] = []
    stairs = [(0, baseline)] if baseline is not None else []
    for number, experiment in state.experiments.items():
        value = experiment.val_bpb
        if value is not None and number in better:
            kept.append((number, value))
            if value != best:
                best = value
                stairs.append((number, best))
        elif value is not None:
            scored.append((number, value))
        elif experiment.verdict and experiment.verdict.failed:
            failed.append(number)
    if stairs and state.experiments:
        stairs.append((max(state.experiments), stairs[-1][1]))
    return Night(tuple(scored), tuple(kept), tuple(failed), tuple(stairs), noise.sigma if noise else 0.0)


def val_bpb_range(night: Night) -> tuple[float, float]:
    """Return the val_bpb at the lower and upper edge of the plot.

    The range contains the whole staircase and every better score. It contains worse scores up to a distance that depends on the
    total gain and on the noise.
    """
    levels = [value for _, value in night.stairs]
    start, best = levels[0], min(levels)
    low = min([best, *(value for _, value in night.scored)])
    room = max(GAINS_ABOVE * (start - best), 0.3 * (start - low), NOISES_ABOVE * night.sigma, 0.004)
    return low - 0.1 * room, max(levels) + room
