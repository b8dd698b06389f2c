"""Compute what counts against the budget of a training, and what is free. Pure."""

from __future__ import annotations

import statistics

GRACE_S, GRACE_SHARE = 0.5, 0.03  # seconds and share of the budget, for the last step and what follows it
LEAST_PACE_S = 2.0  # a shorter training is too short to measure its pace
# An answer longer than LONG_ANSWER medians + LONG_ANSWER_S may hide training, so the excess is charged as training.
# FIRST_ANSWER_S of the excess are free.
LONG_ANSWER, LONG_ANSWER_S, FIRST_ANSWER_S = 3.0, 0.1, 0.5
# The first answers on a GPU load kernels and try algorithms. A tenth of the budget is free, within these bounds in seconds.
FIRST_ON_GPU, LEAST_FIRST_S, MOST_FIRST_S = 0.1, 2.5, 5.0


def grace_s(budget_s: float) -> float:
    """Return the seconds by which a training may exceed its budget, since its last step begins before the budget ends."""
    return max(GRACE_S, GRACE_SHARE * budget_s)


def free_first_s(budget_s: float, *, gpu: bool) -> float:
    """Return the free seconds for slow first answers."""
    if not gpu:
        return FIRST_ANSWER_S
    return min(MOST_FIRST_S, max(LEAST_FIRST_S, FIRST_ON_GPU * budget_s))


def large_steps(trained_s: float, steps: int, budget_s: float) -> str:
    """Return a clause that explains a late end by long steps, to append to a sentence; '' if steps are not the reason."""
    grace = grace_s(budget_s)
    if steps < 1 or trained_s / steps < grace / 2 or trained_s <= budget_s + grace:
        return ""
    return f"; a step took {trained_s / steps:.1f} s, and the last step may end at most {grace:.1f} s late. Use a longer --budget"


def long_answers(seconds: list[float], first: float = FIRST_ANSWER_S) -> float:
    """Return the seconds by which unusually long answers exceed the usual duration, less the free seconds `first`."""
    if not seconds:
        return 0.0
    usual = LONG_ANSWER * statistics.median(seconds) + LONG_ANSWER_S
    return max(0.0, sum(max(0.0, answer - usual) for answer in seconds) - first)


def pace(curve: list[tuple[float, int]]) -> tuple[float, ...]:
    """Return the steps per second of the budget in each quarter of a training.

    Args:
        curve: Points (seconds of the budget, steps).

    Returns:
        Four values at most; empty for a short training or fewer than 8 points.
    """
    if len(curve) < 8 or curve[-1][0] < LEAST_PACE_S:
        return ()
    found, last = [], (0.0, 0)
    for quarter in range(1, 5):
        until = curve[-1][0] * quarter / 4
        point = max((p for p in curve if p[0] <= until), default=last)
        if point[0] > last[0]:
            found.append(round((point[1] - last[1]) / (point[0] - last[0]), 3))
        last = point
    return tuple(found)
