"""Is the keep rule as strict if several pairs are measured at once? Simulated candidates, without training.

Runs with many slots measure a likely gain on several seeds at once (core/judging/schedule.py), so the rule looks at a candidate less often. The
benchmark prints, for candidates of a known true gain, how many are kept, and how many pairs and rounds each takes. A round is a training
after another one. A candidate begins with one pair, or with several: a promising change that is merged into a new best does. Gains are in
standard deviations of one score. The rule knows the noise.

python benchmarks/pairs_at_once.py [--at-once 1 2 3 4] [--gains 0 1 2 3 5] [--candidates 20000]
"""

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.judging import policy

RUN_SEED = 1
LEVEL = 10.0  # of the incumbent, in standard deviations of one score
USELESS = 10  # so many times as many candidates without a gain, since few of them are kept


@dataclass(frozen=True)
class Row:
    """What happened to candidates of one true gain: the share that was kept, and pairs and rounds for each."""

    gain: float
    at_once: int
    first: int
    kept: float
    pairs: float
    rounds: float

    def __str__(self) -> str:
        return f"{self.gain:>6g}{self.at_once:>9}{self.first:>8}{self.kept:>11.2%}{self.pairs:>9.2f}{self.rounds:>9.2f}"


def judged(gain: float, at_once: int, first: int, dice: random.Random) -> tuple[bool, int, int]:
    """Judge one candidate that begins with `first` pairs. Returns whether it is kept, and its pairs and rounds."""
    ours: dict[int, float] = {}
    theirs: dict[int, float] = {}
    rounds = 0
    while True:
        likely = policy.likely_pairs(ours, theirs, 1.0) if ours else first
        count = policy.pairs_at_once(len(ours), likely, at_once)
        for index in range(len(ours), len(ours) + count):
            seed = policy.seed(RUN_SEED, index)
            ours[seed], theirs[seed] = LEVEL - gain + dice.gauss(), LEVEL + dice.gauss()
        rounds += 1
        decision = policy.decide(ours, theirs, 1.0, run_seed=RUN_SEED)
        if decision.action != "measure":
            return decision.action == "keep", len(ours), rounds


def simulate(gain: float, at_once: int, candidates: int, first: int = 1) -> Row:
    """Judge candidates of one true gain that begin with `first` pairs, at most `at_once`."""
    dice = random.Random(f"{gain} {at_once}" + (f" {first}" if first > 1 else ""))
    every = [judged(gain, at_once, first, dice) for _ in range(candidates)]
    kept, pairs, rounds = (sum(values) / candidates for values in zip(*every, strict=True))
    return Row(gain, at_once, first, kept, pairs, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--gains", type=float, nargs="+", default=[0, 1, 2, 3, 5])
    parser.add_argument("--candidates", type=int, default=20_000)
    options = parser.parse_args()
    print(f"{'gain':>6}{'at once':>9}{'first':>8}{'kept':>11}{'pairs':>9}{'rounds':>9}")
    for gain in options.gains:
        for at_once, first in ((count, first) for count in options.at_once for first in sorted({1, count})):
            print(simulate(gain, at_once, options.candidates * (1 if gain else USELESS), first), flush=True)


if __name__ == "__main__":
    main()
