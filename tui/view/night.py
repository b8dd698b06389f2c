"""The data of the plot of a run: every experiment in order, and the best score so far."""

from __future__ import annotations

from dataclasses import dataclass

from core.judging import gain
from core.judging.noise import Noise
from core.record.state import State
from core.reporting.axes import score_range


@dataclass(frozen=True)
class Night:
    """Points (number, val_bpb), on the scale of `core.judging.gain`. `stairs` is the best score so far, which only changes when
    an experiment is kept.
    """

    scored: tuple[tuple[int, float], ...]
    kept: tuple[tuple[int, float], ...]
    failed: tuple[int, ...]
    stairs: tuple[tuple[int, float], ...]
    sigma: float = 0.0  # noise of one score


def night_picture(state: State, noise: Noise | None) -> Night:
    """Return the points of all experiments. Number 0 is the start."""
    start, better, scale = gain.start_score(state), set(state.kept), gain.Scale(state)
    scored: list[tuple[int, float]] = []
    kept: list[tuple[int, float]] = []
    failed: list[int] = []
    for number, experiment in state.experiments.items():
        value = scale.of(experiment)
        if value is not None:
            (kept if number in better else scored).append((number, value))
        elif experiment.verdict and experiment.verdict.failed:
            failed.append(number)
    stairs = [(0, start), *kept] if start is not None else []
    if stairs and state.experiments:
        stairs.append((max(state.experiments), stairs[-1][1]))
    return Night(tuple(scored), tuple(kept), tuple(failed), tuple(stairs), noise.sigma if noise else 0.0)


def val_bpb_range(night: Night) -> tuple[float, float]:
    """Return the val_bpb at the lower and upper edge of the plot, which has a staircase."""
    return score_range([value for _, value in night.stairs], [value for _, value in night.scored], night.sigma)
