"""CMA-ES over the knobs that matter, for simulated nights.

The covariance matrix adaptation evolution strategy, as in N. Hansen, The CMA Evolution Strategy: A Tutorial (arXiv 1604.00772, 2016),
with the default parameters of its table 1 and positive weights only. It begins at the values of the start.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np
from arms import important, setting
from simulated import Night

from core.agents.search.ranges import Range, range_for
from core.change import edits
from core.change.knobs import Knob
from core.model import Value

FIRST_STEP = 0.2  # the first step size, as a share of each knob's range
DRAWS = 100  # for one candidate whose values fit each other
RESTARTS = 20  # in a row, before it gives up


class Cmaes:
    """The strategy, which minimises. `mean`: where it begins. `step`: its first step size."""

    def __init__(self, mean: np.ndarray, step: float, seed: int) -> None:
        self.mean, self.step = mean, step
        self._random, n = np.random.default_rng(seed), len(mean)
        self.size = 4 + int(3 * math.log(n))  # candidates in a generation
        raw = math.log((self.size + 1) / 2) - np.log(np.arange(1, self.size // 2 + 1))
        self._weights = raw / raw.sum()  # (parents,)
        parents = 1 / float(np.square(self._weights).sum())  # their effective number
        self._cs = (parents + 2) / (n + parents + 5)
        self._damping = 1 + 2 * max(0.0, math.sqrt((parents - 1) / (n + 1)) - 1) + self._cs
        self._cc = (4 + parents / n) / (n + 4 + 2 * parents / n)
        self._c1 = 2 / ((n + 1.3) ** 2 + parents)
        self._cmu = min(1 - self._c1, 2 * (parents - 2 + 1 / parents) / ((n + 2) ** 2 + parents))
        self._parents, self._expected = parents, math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))
        self._covariance, self._root, self._inverse = np.eye(n), np.eye(n), np.eye(n)  # root @ root.T is the covariance
        self._path, self._step_path, self._generation = np.zeros(n), np.zeros(n), 0

    def draw(self) -> np.ndarray:
        """Return a new candidate."""
        return self.mean + self.step * self._root @ self._random.standard_normal(len(self.mean))

    def tell(self, candidates: Sequence[np.ndarray], losses: Sequence[float]) -> None:
        """Learn from a generation of candidates. Only the order of their losses matters."""
        best = sorted(range(len(losses)), key=lambda index: losses[index])[: len(self._weights)]
        moves = (np.array([candidates[index] for index in best]) - self.mean) / self.step  # (parents, n)
        move, n = self._weights @ moves, len(self.mean)  # (n,)
        self.mean, self._generation = self.mean + self.step * move, self._generation + 1
        self._step_path = (1 - self._cs) * self._step_path + math.sqrt(
            self._cs * (2 - self._cs) * self._parents
        ) * self._inverse @ move
        length = float(np.linalg.norm(self._step_path))
        usual = math.sqrt(1 - (1 - self._cs) ** (2 * self._generation)) * self._expected
        on = float(length / usual < 1.4 + 2 / (n + 1))  # 0 if the step size grows too fast
        self._path = (1 - self._cc) * self._path + on * math.sqrt(self._cc * (2 - self._cc) * self._parents) * move
        rest = 1 - self._c1 - self._cmu + (1 - on) * self._c1 * self._cc * (2 - self._cc)
        self._covariance = rest * self._covariance + self._c1 * np.outer(self._path, self._path)
        self._covariance += self._cmu * (moves.T * self._weights) @ moves
        self.step *= math.exp(self._cs / self._damping * (length / self._expected - 1))
        values, vectors = np.linalg.eigh(self._covariance)
        scales = np.sqrt(np.maximum(values, 1e-12))
        self._root, self._inverse = vectors * scales, vectors @ np.diag(1 / scales) @ vectors.T


def cmaes(night: Night) -> None:
    """The arm `cmaes`. A generation without a training is a sign that it has converged: it begins again at the best, as wide."""
    ranges = {name: range_for(knob) for name, knob in important(night.source).items()}
    for restart in range(RESTARTS):
        mean = shares(ranges, important(night.sources[night.incumbent]))
        strategy, left = Cmaes(mean, FIRST_STEP, random.Random(f"{night.seed}/{restart}").randrange(2**31)), -1
        while night.left != left:
            left = night.left
            generation = [candidate(night, strategy, ranges) for _ in range(strategy.size)]
            strategy.tell([point for point, _ in generation], [loss for _, loss in generation])


def candidate(night: Night, strategy: Cmaes, ranges: Mapping[str, Range]) -> tuple[np.ndarray, float]:
    """Draw a candidate and try it out. Returns its place and its loss, which is infinite without a score."""
    point = strategy.mean
    for _ in range(DRAWS):
        point = np.clip(strategy.draw(), 0.0, 1.0)
        values = {name: found.at(float(place)) for (name, found), place in zip(ranges.items(), point, strict=True)}
        if (proposal := setting(night.source, values)) is not None and proposal.source is not None:
            night.try_out(proposal)
            scores = night.scores.get(edits.fingerprint(proposal.source), {})
            return point, statistics.fmean(scores.values()) if scores else math.inf
    return point, math.inf


def shares(ranges: Mapping[str, Range], present: Mapping[str, Knob]) -> np.ndarray:
    """Return where the present values lie in their ranges, from 0 to 1."""
    return np.clip([share(found, present[name].value) for name, found in ranges.items()], 0.0, 1.0)


def share(found: Range, value: Value) -> float:
    """Return where a value lies in a range, from 0 to 1. It is the inverse of `Range.at`."""
    place = found.encode(value)
    if found.kind == "log":
        return math.log(place / found.low) / math.log(found.high / found.low)
    return (place - found.low) / (found.high - found.low)
