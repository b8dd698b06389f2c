"""How much a score moves by chance: the profile's prior pooled with every repeated measurement of the run. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Degrees of freedom. Three repeats alone are below half the true noise in 22% of runs; with this they cannot halve it.
PRIOR_WEIGHT = 4.0
ENOUGH_REPEATS = 5


@dataclass(frozen=True)
class Noise:
    """Standard deviation of one measurement, in bpb, and the repeats (degrees of freedom) that it rests on."""

    sigma: float
    repeats: int = 0

    @property
    def provisional(self) -> bool:
        return self.repeats < ENOUGH_REPEATS

    @classmethod
    def pooled(cls, prior: float, groups: Iterable[Sequence[float]]) -> Noise:
        """sigma^2 = (nu0 s0^2 + sum of squares within groups) / (nu0 + sum of (n - 1)): a scaled inverse chi-square
        prior, updated (Gelman et al., Bayesian Data Analysis, 3rd ed., section 2.6). Each group holds the scores of one
        commit. Raises ValueError for a prior that is none."""
        if not (math.isfinite(prior) and prior > 0):
            raise ValueError(f"a prior noise of {prior} is none")
        squares, freedom = 0.0, 0
        for group in groups:
            if len(group) < 2:
                continue
            mean = sum(group) / len(group)
            squares += sum((value - mean) ** 2 for value in group)
            freedom += len(group) - 1
        return cls(math.sqrt((PRIOR_WEIGHT * prior**2 + squares) / (PRIOR_WEIGHT + freedom)), freedom)
