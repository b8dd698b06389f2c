"""The direction of the score: what is better is said in one place."""

from __future__ import annotations

from core.target import TARGET
from core.target.target import Target


class Accuracy(Target):
    """A target whose score is better when it is higher."""

    def improvement(self, before: float, after: float) -> float:
        return after - before


def test_the_best_score_follows_from_what_is_an_improvement() -> None:
    scores = [1.6, 1.5, 1.7]
    assert TARGET.best(scores) == 1.5 and TARGET.improvement(1.6, 1.5) > 0
    other = Accuracy(**{name: getattr(TARGET, name) for name in Target.__dataclass_fields__})
    assert other.best(scores) == 1.7
