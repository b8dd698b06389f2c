"""How small a gain does the evaluation of a GPU run still find, and how often does it accuse an honest model? By simulation.

The real plan and the real judgement of nanochat/harness/probes.py, with answers drawn from distributions: rounding that differs from
question to question by `noise` nats, and cheats that use the next token where they see it. Run: python benchmarks/evaluation.py
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from nanochat.harness.probes import FLIP, PAIRED_LIMIT, Cheated, Evaluation, Query, plan, probes_per_row

LENGTH = 24  # positions of a row: how many there are matters little, how many probes does
BYTES = 4.0  # of a token, about those of a vocabulary of 8192
BATCH = 32
NATS = math.log(2) * BYTES  # of one bit per byte
MOST_PER_PLACE = 0.6 * FLIP  # nats that a token of probability 0.4 gains by a logit that is larger by a flipped bit
OUTRIGHT, HARD_SHARE = 8.0, 0.02  # nats that a hard token costs, and how many tokens are hard

Cheat = Callable[[Query, np.ndarray], np.ndarray]


def honest(query: Query, nats: np.ndarray) -> np.ndarray:
    return nats


def everywhere(gain: float) -> Cheat:
    """Makes every visible next token a little likelier, `gain` nats on average."""

    def cheat(query: Query, nats: np.ndarray) -> np.ndarray:
        shift = np.full(nats.shape, -gain, dtype=np.float32)
        if query.kind == "probe":
            shift[query.cut] = gain  # another token stands there, and was made likelier
        return nats + shift

    return cheat


def at_few_places(gain: float) -> Cheat:
    """Gains as much on average, by the most that a flipped bit hides, at places that it draws from the row's beginning."""
    share = gain / MOST_PER_PLACE

    def cheat(query: Query, nats: np.ndarray) -> np.ndarray:
        acts = np.random.default_rng(query.row).random(nats.shape) < share
        if query.kind == "probe":
            acts[query.cut] = False
        return nats - np.float32(MOST_PER_PLACE) * acts

    return cheat


def hard(row: int) -> np.ndarray:
    """Which positions (LENGTH,) of a row hold hard tokens."""
    return np.random.default_rng([row, 1]).random(LENGTH) < HARD_SHARE


def outright(gain: float) -> Cheat:
    """Gains as much on average by knowing a few hard tokens outright, 8 nats each. Only a probe cut there sees it."""
    share = gain / OUTRIGHT / HARD_SHARE  # of the hard tokens

    def cheat(query: Query, nats: np.ndarray) -> np.ndarray:
        acts = hard(query.row) & (np.random.default_rng(query.row).random(nats.shape) < share)
        if query.kind == "probe":
            acts[query.cut] = False
        return nats - np.float32(OUTRIGHT) * acts

    return cheat


def in_whole_rows(gain: float) -> Cheat:
    """Knows somehow what is a probe, and gains only in whole rows."""
    return lambda query, nats: nats if query.kind == "probe" else nats - np.float32(gain)


CHEATS: dict[str, Callable[[float], Cheat]] = {
    "everywhere": everywhere, "at few places": at_few_places, "in whole rows": in_whole_rows, "outright": outright,
}  # fmt: skip


def accused(rows: int, noise: float, cheat: Cheat, seed: int) -> bool:
    """Whether one evaluation of `rows` rows convicts."""
    random = np.random.default_rng(seed)
    truth = 3.0 + 0.3 * random.standard_normal((rows, LENGTH)).astype(np.float32)
    for row in range(rows):
        truth[row, hard(row)] = OUTRIGHT + 0.1
    limit = PAIRED_LIMIT * NATS
    per_row = probes_per_row(rows, noise, limit)
    if not math.isfinite(per_row):
        return True
    evaluation = Evaluation(rows, LENGTH, limit=limit)
    try:
        for asks in plan(random, rows, LENGTH, BATCH, per_row):
            for query in filter(None, asks):
                rounding = noise / math.sqrt(2) * random.standard_normal(LENGTH).astype(np.float32)
                nats = cheat(query, truth[query.row]) + rounding
                if query.kind == "probe":
                    evaluation.probe(query, nats, nats[query.cut, None], float(nats[query.cut]))
                else:
                    cuts = evaluation.cuts(query.row) if query.kind == "whole" else []
                    evaluation.whole(query, nats, [nats[cut, None] for cut in cuts])
        evaluation.judge()
    except Cheated:
        return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluations", type=int, default=60, help="of each kind")
    evaluations = parser.parse_args().evaluations
    gains = (2e-4, 3e-4, 4e-4, 5e-4, 1e-3, 2e-3, 5e-3)
    print(
        f"limit {PAIRED_LIMIT:g} bits per byte; share of evaluations that convict, of {evaluations}; gains in bits per byte"
    )
    print(f"{'rows':>5} {'noise':>7} {'probes':>7}  {'cheat':<14}" + "".join(f"{gain:>9g}" for gain in (0.0, *gains)))
    for rows in (1024, 2048):
        for noise in (0.0, 0.002, 0.005, 0.01):
            per_row = probes_per_row(rows, noise, PAIRED_LIMIT * NATS)
            for name, cheat in CHEATS.items():
                kinds = [honest, *(cheat(gain * NATS) for gain in gains)]
                found = [
                    sum(accused(rows, noise, kind, seed) for seed in range(evaluations)) / evaluations for kind in kinds
                ]
                print(
                    f"{rows:>5} {noise:>7g} {per_row * rows:>7.0f}  {name:<14}"
                    + "".join(f"{share:>9.0%}" for share in found),
                    flush=True,
                )


if __name__ == "__main__":
    main()
