"""Compares a training with its parent's, as text: loss at equal progress, speed, memory and steps. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nanochat.contract import metrics

SHARES = (0.25, 0.5, 0.75, 1.0)  # shares of the budget at which losses are compared
NEARLY = 0.003  # a relative difference up to which two losses count as equal
NEAR_END = 0.1  # a curve that ends earlier than this before a share has no value there

Point = tuple[float, float]  # progress, loss


@dataclass(frozen=True)
class Training:
    """The figures of a training, and its loss curve."""

    steps: int = 0
    tokens_per_s: float = 0.0
    memory: int = 0  # peak, in bytes
    curve: tuple[Point, ...] = ()


def curve(lines: Iterable[str]) -> tuple[Point, ...]:
    """Return the points of a metrics.jsonl in order of progress. Invalid lines are skipped."""
    points = (metrics.point(line) for line in lines)
    return tuple(
        sorted(
            (one.progress, one.values["loss"])
            for one in points
            if one is not None and 0 <= one.progress <= 1 and "loss" in one.values
        )
    )


def at(points: Sequence[Point], share: float) -> float | None:
    """Return the interpolated loss at a share of the budget, or None if the curve does not reach it."""
    if not points or points[-1][0] < share - NEAR_END or points[0][0] > share:
        return None
    before = max((point for point in points if point[0] <= share), key=lambda point: point[0])
    after = next((point for point in points if point[0] > share), before)
    if after[0] == before[0]:
        return before[1]
    weight = (share - before[0]) / (after[0] - before[0])
    return before[1] + weight * (after[1] - before[1])


def words(training: Training, parent: Training | None) -> str:
    """Return the comparison as a few clauses; "" if there are no figures."""
    if not training.steps and not training.curve:
        return ""
    parts = []
    if loss := _losses(training.curve, parent.curve if parent else ()):
        parts.append(loss)
    pairs = (
        ("steps", training.steps, parent.steps if parent else 0, "{:.0f}"),
        ("tokens/s", training.tokens_per_s, parent.tokens_per_s if parent else 0, "{:.0f}"),
        ("MB of memory", training.memory / 1e6, parent.memory / 1e6 if parent else 0, "{:.0f}"),
    )
    parts += [_pair(name, value, other, form) for name, value, other, form in pairs if value]
    return "; ".join(parts)


def _pair(name: str, value: float, other: float, form: str) -> str:
    if not other:
        return f"{form.format(value)} {name}"
    return f"{form.format(value)} {name} against {form.format(other)} ({value / other - 1:+.0%})"


def _losses(ours: Sequence[Point], theirs: Sequence[Point]) -> str:
    """Return the training loss at each share, and how it compares with the parent's."""
    rows, ahead = [], []
    for share in SHARES:
        mine, other = at(ours, share), at(theirs, share)
        if mine is None:
            continue
        rows.append(f"{mine:.3f}{f' against {other:.3f}' if other is not None else ''} at {share:.0%}")
        if other is not None:
            ahead.append(0 if abs(mine - other) <= NEARLY * abs(other) else 1 if mine < other else -1)
    if not rows:
        return ""
    return f"training loss {', '.join(rows)}{f': {_course(ahead)}' if ahead else ''}"


def _course(ahead: Sequence[int]) -> str:
    """Return how the loss went relative to the parent. `ahead` has 1 for ahead, -1 for behind and 0 for level."""
    first = next((sign for sign in ahead if sign), 0)
    last = ahead[-1]
    names = {1: "ahead of", -1: "behind", 0: "level with"}
    if not first:
        return "level with its parent all the way"
    if last == first and -first not in ahead:
        return f"{names[first]} its parent {'all the way' if 0 not in ahead else 'for most of the way'}"
    return f"{names[first]} its parent first, {names[last]} it at the end"
