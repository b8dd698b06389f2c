"""What counts against the budget of a training, and what is free. Pure."""

from __future__ import annotations

import statistics

GRACE_S, GRACE_SHARE = 0.5, 0.03  # for the last step and what follows it
LEAST_PACE_S = 2.0  # a shorter training says nothing about its pace
# An answer that takes much longer than the others did more than answer: what exceeds this is charged as training.
LONG_ANSWER, LONG_ANSWER_S, FIRST_ANSWER_S = 3.0, 0.1, 0.5
# The first answers on a GPU load kernels, and libraries try their algorithms: a tenth of the budget, within these bounds.
FIRST_ON_GPU, LEAST_FIRST_S, MOST_FIRST_S = 0.1, 2.5, 5.0


def grace_s(budget_s: float) -> float:
    """Seconds by which a training may end late: its last step begins before the budget ends."""
    return max(GRACE_S, GRACE_SHARE * budget_s)


def free_first_s(budget_s: float, *, gpu: bool) -> float:
    """Seconds that are free in the first answers."""
    if not gpu:
        return FIRST_ANSWER_S
    return min(MOST_FIRST_S, max(LEAST_FIRST_S, FIRST_ON_GPU * budget_s))


def large_steps(trained_s: float, steps: int, budget_s: float) -> str:
    """Words for a training that ended late because of the length of its own steps, to be added to a sentence; else empty."""
    grace = grace_s(budget_s)
    if steps < 1 or trained_s / steps < grace / 2 or trained_s <= budget_s + grace:
        return ""
    return f"; a step took {trained_s / steps:.1f} s, and the last may end {grace:.1f} s late: a longer --budget has room for that"


def long_answers(seconds: list[float], first: float = FIRST_ANSWER_S) -> float:
    """Seconds that answers took beyond what all but a few of them need; a little is free, above all the first time."""
    if not seconds:
        return 0.0
    usual = LONG_ANSWER * statistics.median(seconds) + LONG_ANSWER_S
    return max(0.0, sum(max(0.0, answer - usual) for answer in seconds) - first)


def pace(curve: list[tuple[float, int]]) -> tuple[float, ...]:
    """Steps per second of the budget in each quarter of the training, from (seconds, steps)."""
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
