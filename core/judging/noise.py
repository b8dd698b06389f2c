"""How much a score moves by chance, estimated from the pairs that the keep rule compares. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

Scores = Mapping[int, float]  # seed -> val_bpb of one version
Family = tuple[Scores, Sequence[Scores]]  # a version, and the candidates that were made from it

# Degrees of freedom. A prior that may be wrong by a factor of two is worth about as much as two measurements.
PRIOR_WEIGHT = 2.0
# The least noise of a pair, as a share of the scatter over seeds: same seeds cancel at most three quarters of the
# variance of a real edit. Edits that change nothing give pairs without any scatter, which say nothing of real ones.
LEAST = 0.5
# Standard deviations from the median. Values further out are moved to this limit, so one diverged seed does not set the noise.
OUTLIER = 5.0
Z80 = 1.2816  # the standard normal exceeds it in 10%


@dataclass(frozen=True)
class Noise:
    """Noise of one measurement as the keep rule uses it: a mean gain over n pairs has a standard error of sigma sqrt(2 / n).

    Attributes:
        sigma: standard deviation in bpb.
        pairs: degrees of freedom that it rests on: pairs of scores beyond the first of each experiment. 0 where these
            vary too little to be of use.
    """

    sigma: float
    pairs: int = 0

    @property
    def interval(self) -> tuple[float, float]:
        """The 80% interval of a scaled inverse chi-square distribution.

        It holds the true noise in 60 to 80% of simulated nights: pairs of one night are not independent.
        """
        freedom = PRIOR_WEIGHT + self.pairs
        low, high = (self.sigma * math.sqrt(freedom / _chi_square(z, freedom)) for z in (Z80, -Z80))
        return low, high

    @property
    def range(self) -> str:
        """The interval as text, such as "0.0031 to 0.0065"."""
        low, high = self.interval
        return f"{low:.4f} to {high:.4f}"

    def __str__(self) -> str:
        return f"{self.sigma:.4f} ({self.range})"

    @classmethod
    def estimate(cls, prior: float, repeats: Sequence[float] = (), families: Iterable[Family] = ()) -> Noise:
        """Estimate the noise from a run.

        Scores of one version on several seeds correct the prior. They contain the effect of the seed, which a pair
        cancels, so their estimate is only where the pairs start from: it counts as much as two pairs. Both steps update
        a scaled inverse chi-square prior (Gelman et al., Bayesian Data Analysis, 3rd ed., section 2.6).

        Args:
            prior: noise before anything was measured, in bpb.
            repeats: val_bpb of one version, each with another seed.
            families: versions, each with its candidates. Only seeds that a candidate shares with it count.

        Raises:
            ValueError: prior is not finite and positive.
        """
        if not (math.isfinite(prior) and prior > 0):
            raise ValueError(f"the prior noise must be finite and positive, got {prior}")
        freedom = max(0, len(repeats) - 1)
        start = _updated(prior**2, freedom * _variance(_clipped(repeats, prior)), freedom)
        squares, pairs = 0.0, 0
        for parent, candidates in families:
            variance, more = _interaction(parent, candidates, math.sqrt(start))
            squares, pairs = squares + more * variance, pairs + more
        variance = _updated(start, squares, pairs)
        if variance < LEAST**2 * start:
            return cls(LEAST * math.sqrt(start))  # the pairs say nothing of real edits, so the interval is wide
        return cls(math.sqrt(variance), pairs)


def _updated(prior: float, squares: float, freedom: int) -> float:
    return (PRIOR_WEIGHT * prior + squares) / (PRIOR_WEIGHT + freedom)


def _interaction(parent: Scores, candidates: Sequence[Scores], sigma: float) -> tuple[float, int]:
    """The variance of one score apart from the effects of version and seed, and its degrees of freedom.

    `sigma` is the noise expected so far, which says what is an outlier.

    The step from one seed to another, compared between two versions, has four times that variance and contains no
    effect of either. All versions of the family are compared with each other, and not only candidates with the parent:
    the parent's chance on a seed is in every pair with it and would count as often. This also removes most of what
    selection adds. Only candidates with a good first pair get a second, so their first scores are better than the
    later ones, but about equally so for all of them.
    """
    paired = [scores for one in candidates if len(scores := {seed: one[seed] for seed in one if seed in parent}) > 1]
    total = weight = 0.0
    for first, second in combinations(sorted({seed for scores in paired for seed in scores}), 2):
        steps = [scores[first] - scores[second] for scores in (parent, *paired) if first in scores and second in scores]
        steps = _clipped(steps, sigma * math.sqrt(2))
        comparisons = len(steps) * (len(steps) - 1) / 2
        total, weight = total + comparisons * _variance(steps) / 2, weight + comparisons
    return (total / weight if weight else 0.0), sum(len(scores) - 1 for scores in paired)


def _clipped(values: Sequence[float], sigma: float) -> list[float]:
    """The values, those beyond OUTLIER standard deviations from the median moved to that limit."""
    if not values:
        return []
    middle, most = statistics.median(values), OUTLIER * sigma
    return [min(max(value, middle - most), middle + most) for value in values]


def _variance(values: Sequence[float]) -> float:
    """The sample variance; 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _chi_square(z: float, freedom: float) -> float:
    """A quantile of chi-square by that of the standard normal (Wilson and Hilferty, 1931); within 7% from two degrees on."""
    return freedom * (1 - 2 / (9 * freedom) + z * math.sqrt(2 / (9 * freedom))) ** 3
