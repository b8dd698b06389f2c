"""Estimates the noise of a score from the pairs that the keep rule compares. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

Scores = Mapping[int, float]  # seed -> val_bpb of one version
Family = tuple[Scores, Sequence[Scores]]  # a version, and the candidates that were made from it

# Degrees of freedom of the prior. A prior that may be wrong by a factor of two is worth about two measurements.
PRIOR_WEIGHT = 2.0
# The smallest noise of pairs, as a share of the estimate before them. A change without any effect gives pairs without scatter,
# which do not tell the noise of others.
LEAST = 0.6
# Standard deviations from the median. Values further out are moved to this limit, so that one diverged seed does not dominate.
OUTLIER = 5.0
# Candidates on one seed from which their spread is used, candidates that are used at most (the newest ones), and the largest
# weight of the spread in degrees of freedom.
SPREAD_LEAST, SPREAD_MOST, SPREAD_WEIGHT = 6, 60, 8.0
FAR = 3.0
SCATTER_LEAST = 4  # scores of one version, beyond the first, from which their scatter may be the smaller bound
ALIKE = 0.1  # priors up to which two scores are those of the same computation
Z80 = 1.2816  # a standard normal variable exceeds this with probability 10%


@dataclass(frozen=True)
class Noise:
    """The noise of one measurement. A mean gain over n pairs has a standard error of sigma sqrt(2 / n).

    Attributes:
        sigma: The standard deviation, in bpb.
        pairs: The degrees of freedom of the estimate: pairs of scores beyond the first of each experiment. 0 if these pairs
            vary too little to be used.
    """

    sigma: float
    pairs: int = 0

    @property
    def interval(self) -> tuple[float, float]:
        """The 80% interval of a scaled inverse chi-square distribution, in bpb.

        It contains the true noise in 70 to 82% of simulated runs, since the pairs of one run are not independent.
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

        First two upper bounds update the prior: the scatter of one version over seeds includes the effect of the seed, which
        cancels in a pair, and the spread of candidates on one seed includes their effects. The smaller one counts. A bound above
        the prior counts for no more than the prior, and only if both are known. The result serves as the prior for the pairs,
        with the weight of two of them. Both steps update a scaled inverse chi-square prior (Gelman et al., Bayesian Data
        Analysis, 3rd ed., section 2.6).

        Args:
            prior: The noise before anything was measured, in bpb.
            repeats: Values of val_bpb of one version, each on a different seed.
            families: Versions, each with its candidates. Only seeds on which both have a score count.

        Raises:
            ValueError: `prior` is not finite and positive.
        """
        if not (math.isfinite(prior) and prior > 0):
            raise ValueError(f"the prior noise must be finite and positive, got {prior}")
        families = list(families)
        scatter, spread = _scatter(repeats, prior), _spread(families, prior)
        # Of two uncertain figures the smaller one is often too small, so a scatter of few scores only counts alone.
        both = scatter[1] >= SCATTER_LEAST and spread[1] > 0
        bound, weight = min(scatter, spread) if both else spread if spread[1] else scatter
        if bound > prior**2:  # a bound above the prior tells little, and a single one nothing
            weight = min(weight, PRIOR_WEIGHT) if both else 0.0
        start = _updated(prior**2, weight * bound, weight) if weight else prior**2
        squares, pairs = 0.0, 0
        for parent, candidates in families:
            variance, more = _interaction(parent, candidates, math.sqrt(start))
            squares, pairs = squares + more * variance, pairs + more
        variance = _updated(start, squares, pairs)
        if variance < LEAST**2 * start:
            return cls(LEAST * math.sqrt(start))  # the pairs are not used, so the interval is wide
        return cls(math.sqrt(variance), pairs)


def _scatter(repeats: Sequence[float], prior: float) -> tuple[float, float]:
    """Return the variance of the scores of one version on several seeds, and its weight in degrees of freedom.

    It includes the effect of the seed, so it is an upper bound of the noise.
    """
    freedom = len(repeats) - 1
    return (_variance(_clipped(repeats, prior)), float(freedom)) if freedom > 0 else (math.inf, 0.0)


def _updated(prior: float, squares: float, freedom: float) -> float:
    return (PRIOR_WEIGHT * prior + squares) / (PRIOR_WEIGHT + freedom)


def _spread(families: Sequence[Family], prior: float) -> tuple[float, float]:
    """Return the variance of the scores of candidates on one seed, and its weight in degrees of freedom.

    The luck of the seed and of the parent is the same for all of them. Their true effects widen the spread, so it is an upper
    bound of the noise. Half of them may have any effect, since Qn is a quartile of their distances (Rousseeuw and Croux,
    Alternatives to the median absolute deviation, 1993). Effects beyond FAR such deviations from the median are left
    out, and so are equal computations, whose scores are nearly equal.
    """
    squares = weight = 0.0
    left = SPREAD_MOST
    for parent, candidates in reversed(families):
        groups: dict[int, list[float]] = {}
        for scores in candidates[-left:] if left else ():
            first = next((seed for seed in scores if seed in parent), None)
            if first is not None and abs(scores[first] - parent[first]) > ALIKE * prior:
                groups.setdefault(first, []).append(scores[first])
                left -= 1
        for values in groups.values():
            if len(values) >= SPREAD_LEAST:
                middle, most = statistics.median(values), FAR * _qn(values)
                near = [value for value in values if abs(value - middle) <= most]
                if len(near) >= SPREAD_LEAST:
                    squares, weight = squares + len(near) * _qn(near) ** 2, weight + len(near)
    if not weight or squares / weight < (ALIKE * prior) ** 2:
        return math.inf, 0.0
    return squares / weight, min(weight, SPREAD_WEIGHT)


def _qn(values: Sequence[float]) -> float:
    """Return the scale estimate Qn of at least two values, with the correction for small samples (Croux and Rousseeuw, 1992)."""
    n = len(values)
    half = n // 2 + 1
    distances = sorted(abs(first - second) for first, second in combinations(values, 2))
    correction = n / (n + 1.4) if n % 2 else n / (n + 3.8)
    return 2.2219 * correction * distances[half * (half - 1) // 2 - 1]


def _interaction(parent: Scores, candidates: Sequence[Scores], sigma: float) -> tuple[float, int]:
    """Return the variance of one score without the effects of version and seed, and its degrees of freedom.

    Take the difference between two seeds of one version, and compare it between two versions. The result has four times the
    variance of one score, and the effects of version and seed cancel. All versions of the family are compared with each other.
    If candidates were only compared with their parent, the parent's noise on a seed would count once for each candidate.
    This also removes most of the bias by selection. Only candidates with a good first pair get a second one. So their first
    scores are better than later ones, but by about the same amount for all of them.

    Args:
        parent: Scores of the version that the candidates were made from.
        candidates: Scores of the candidates.
        sigma: The noise expected so far, in bpb. It decides which values are outliers.
    """
    several = (one for one in candidates if len(one) > 1)
    paired = [scores for one in several if len(scores := {seed: one[seed] for seed in one if seed in parent}) > 1]
    total = weight = 0.0
    for first, second in combinations(sorted({seed for scores in paired for seed in scores}), 2):
        steps = [scores[first] - scores[second] for scores in (parent, *paired) if first in scores and second in scores]
        steps = _clipped(steps, sigma * math.sqrt(2))
        comparisons = len(steps) * (len(steps) - 1) / 2
        total, weight = total + comparisons * _variance(steps) / 2, weight + comparisons
    return (total / weight if weight else 0.0), sum(len(scores) - 1 for scores in paired)


def _clipped(values: Sequence[float], sigma: float) -> list[float]:
    """Return the values, limited to OUTLIER standard deviations around the median."""
    if not values:
        return []
    middle, most = statistics.median(values), OUTLIER * sigma
    return [min(max(value, middle - most), middle + most) for value in values]


def _variance(values: Sequence[float]) -> float:
    """Return the sample variance, or 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _chi_square(z: float, freedom: float) -> float:
    """Return the quantile of the chi-square distribution that belongs to the quantile `z` of the standard normal distribution.

    An approximation (Wilson and Hilferty, 1931); the error is at most 7% from two degrees of freedom on.
    """
    return freedom * (1 - 2 / (9 * freedom) + z * math.sqrt(2 / (9 * freedom))) ** 3
