"""The direction of the score: what is better is said in one place."""

from __future__ import annotations

from dataclasses import replace

from core.target import TARGET


def test_the_best_score_follows_from_what_is_an_improvement() -> None:
    scores = [1.6, 1.5, 1.7]
    assert TARGET.best(scores) == 1.5 and TARGET.improvement(1.6, 1.5) > 0
    other = replace(TARGET, lower_is_better=False)
    assert other.best(scores) == 1.7 and other.improvement(1.5, 1.6) > 0
    assert (TARGET.gain(-0.1), TARGET.change(0.1), other.gain(-0.1), other.change(0.1)) == (0.1, -0.1, -0.1, 0.1)
    assert (TARGET.direction, TARGET.better_sign) == ("lower is better", "a minus is better")
    assert (other.direction, other.better_sign) == ("higher is better", "a plus is better")
