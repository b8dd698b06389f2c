"""Simulate evaluations of GPU runs: how small a gain by cheating is detected, and how often an honest model is accused.

Uses the plan and the checks of nanochat/harness/probes.py with random answers: rounding with a standard deviation of `noise` nats
between questions, and cheats that use the next token if they see it. Run: python benchmarks/evaluation.py
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

LENGTH = 24  # positions of a row; this matters little, unlike the number of probes
BYTES = 4.0  # per token, about as with a vocabulary of 8192
BATCH = 32
NATS = math.log(2) * BYTES  # nats per token in one bit per byte
MOST_PER_PLACE = 0.6 * FLIP  # nats that a token of probability 0.4 gains by a flipped bit of its logit
OUTRIGHT, HARD_SHARE = 8.0, 0.02  # nats of a hard token, and the share of hard tokens

Cheat = Callable[[Query, np.ndarray], np.ndarray]


def honest(query: Query, nats: np.ndarray) -> np.ndarray:
    return nats


def everywhere(gain: float) -> Cheat:
    """Make every visible next token slightly more likely, by `gain` nats on average."""

    def cheat(query: Query, nats: np.ndarray) -> np.ndarray:
        shift = np.full(nats.shape, -gain, dtype=np.float32)
        if query.kind == "probe":
            shift[query.cut] = gain  # the model sees another token there, and made that one more likely
        return nats + shift

    return cheat


def at_few_places(gain: float) -> Cheat:
    """Gain `gain` nats on average at few places, each by the most that a flipped bit hides."""
    share = gain / MOST_PER_PLACE

    def cheat(query: Query, nats: np.ndarray) -> np.ndarray:
        acts = np.random.default_rng(query.row).random(nats.shape) < share
        if query.kind == "probe":
            acts[query.cut] = False
        return nats - np.float32(MOST_PER_PLACE) * acts

    return cheat


def hard(row: int) -> np.ndarray:
    """Return a mask (LENGTH,) of the hard tokens of a row."""
    return np.random.default_rng([row, 1]).random(LENGTH) < HARD_SHARE


def outright(gain: float) -> Cheat:
    """Gain `gain` nats on average by knowing a few hard tokens, 8 nats each. Only a probe cut there detects it."""
    share = gain / OUTRIGHT / HARD_SHARE  # of the hard tokens

    def cheat(query: Query, nats: np.ndarray) -> np.ndarray:
        acts = hard(query.row) & (np.random.default_rng(query.row).random(nats.shape) < share)
        if query.kind == "probe":
            acts[query.cut] = False
        return nats - np.float32(OUTRIGHT) * acts

    return cheat


def in_whole_rows(gain: float) -> Cheat:
    """Gain `gain` nats in whole rows only, as if the model could recognise probes."""
    return lambda query, nats: nats if query.kind == "probe" else nats - np.float32(gain)


CHEATS: dict[str, Callable[[float], Cheat]] = {
    "everywhere": everywhere, "at few places": at_few_places, "in whole rows": in_whole_rows, "outright": outright,
}  # fmt: skip


def accused(rows: int, noise: float, cheat: Cheat, seed: int) -> bool:
    """Simulate one evaluation and return whether it finds cheating."""
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
