"""The keep rule and the other judgements, as pure functions of numbers.

A candidate is measured on the same seeds as the best. With n pairs, mean gain m and noise sigma of one measurement,
z = m / (sigma * sqrt(2 / n)). It is dropped as soon as z falls below FUTILE[n], kept as soon as it reaches KEEP[n], and
measured on another seed in between: a group-sequential test (Jennison and Turnbull, 1999). One pair never keeps, since
of many candidates the luckiest first score is the one looked at.

The bounds come from a random search over them, with the noise known and no correlation within a pair. Of those that keep at
most one useless change in 500, those were taken that find most gains of two and three sigmas for the trainings they cost: 66%
and 93%. A useless change costs 1.55 trainings on average. In the simulation of `benchmarks/policy.py`, where the noise is
estimated from the night itself and its prior is wrong by up to a factor of two, it is at most one in 250. The optimum is
flat: a tenth more or less on a bound moves the figures little.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol

from core.target import TARGET
from nanochat.contract.job import Outcome, Result

FUTILE = {1: 0.6, 2: 0.9, 3: 1.15, 4: 1.4, 5: 1.65, 6: 1.9, 7: 2.2}
KEEP = {2: 3.8, 3: 3.65, 4: 3.5, 5: 3.35, 6: 3.2, 7: 3.05, 8: 2.9}
MAX_PAIRS = 8
WORSE = -2.0  # z below which a loss is called one; between it and KEEP a result is inconclusive
SIMPLER_SHARE, SIMPLER_NODES = 0.01, 8  # clearly less code: at least both, in AST nodes
SIMPLER_PAIRS = 2
SIMPLER_Z = -1.0  # a simplification that looks worse than this is not measured further
DRIFT = 0.25  # sigmas that a simplification may lie above the best confirmed score; more adds up over a night

Action = Literal["discard", "measure", "keep", "simplify"]
Who = Literal["candidate", "incumbent"]


@dataclass(frozen=True)
class Decision:
    """What to do with a candidate. For "measure": on which seed, and whether the best or the candidate lacks it.

    `needed` is the loss or gain in bpb, positive, from which the outcome would have been another; for "keep" the gain
    that was required, for a clear loss the loss from which it counts as one. None while it is measured further.
    """

    action: Action
    reason: str  # a clause for humans, with the arithmetic
    gain: float | None = None  # mean paired improvement in bpb, positive is better
    error: float | None = None  # its standard error
    pairs: int = 0
    seed: int | None = None
    who: Who = "candidate"
    within_noise: bool = False  # inconclusive or not confirmed, or kept only for its simplicity
    needed: float | None = None

    @property
    def z(self) -> float | None:
        """The gain in standard errors."""
        return self.gain / self.error if self.gain is not None and self.error else None


def seed(run_seed: int, index: int) -> int:
    """The seed of the index-th repeat: the same for every commit of a run, so that scores pair up."""
    return (run_seed * 1_000_003 + index * 7919) % 2_147_483_647


def decide(
    candidate: Mapping[int, float],
    incumbent: Mapping[int, float],
    sigma: float,
    *,
    run_seed: int,
    nodes_delta: int = 0,
    nodes: int = 0,
    best_confirmed: float | None = None,
) -> Decision:
    """Keep, simplify, discard, or measure further; `candidate` and `incumbent` map seeds to val_bpb.

    `nodes_delta` is the candidate's AST nodes less those of the best, `nodes`; `best_confirmed` is the lowest mean of a
    kept commit that was measured more than once. The seed to measure may still be missing for both: the candidate then
    comes first. Raises ValueError for a score or noise that is not finite and positive.
    """
    if not (math.isfinite(sigma) and sigma > 0):
        raise ValueError(f"sigma must be finite and positive, got {sigma}")
    for value in (*candidate.values(), *incumbent.values(), *(() if best_confirmed is None else (best_confirmed,))):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"val_bpb must be finite and positive, got {value}")
    order = [seed(run_seed, index) for index in range(MAX_PAIRS)]
    wanted = next((s for s in order if s not in candidate or s not in incumbent), None)
    if wanted is not None and wanted in candidate:
        return Decision("measure", "the best lacks a score on this seed", seed=wanted, who="incumbent")
    shared = [s for s in order if s in candidate and s in incumbent]
    if not shared:
        return Decision("measure", "it has no score yet", seed=wanted)
    n = len(shared)
    gain = sum(TARGET.improvement(incumbent[s], candidate[s]) for s in shared) / n
    error = sigma * math.sqrt(2 / n)
    z = gain / error
    over = f"over {n} seed{'s' if n > 1 else ''}, with a standard error of {error:.4f}"

    def end(action: Action, words: str, needed: float, *, noise: bool) -> Decision:
        change, limit = figures(gain, needed)
        hint = limit_words(gain, n, limit) if noise else f"{limit} {'was needed' if gain > 0 else 'counts as worse'}"
        return Decision(action, f"{words}: {change} {over}; {hint}", gain, error, n, within_noise=noise, needed=needed)

    def further(words: str) -> Decision:
        reason = f"{words}, so it is measured again: {figures(gain)[0]} {over}"
        return Decision("measure", reason, gain, error, n, seed=wanted)

    enough = KEEP.get(n, KEEP[MAX_PAIRS]) * error
    if n in KEEP and z >= KEEP[n]:
        return end("keep", "a real improvement", enough, noise=False)
    if z >= SIMPLER_Z and simpler(nodes_delta, nodes):
        if n < SIMPLER_PAIRS:
            return further("inconclusive so far, with less code")
        level = sum(candidate.values()) / len(candidate)
        if best_confirmed is None or level <= best_confirmed + DRIFT * sigma:
            words = f"inconclusive, with {-nodes_delta} AST nodes fewer"
            return end("simplify", words, enough, noise=True)
    if n < MAX_PAIRS and z >= FUTILE[n]:
        return further("promising")
    if z < WORSE:
        return end("discard", "worse", -WORSE * error, noise=False)
    if n > 1:
        return end("discard", "not confirmed", enough, noise=True)
    return end("discard", "inconclusive", (-WORSE if gain < 0 else FUTILE[1]) * error, noise=True)


def figures(gain: float, needed: float | None = None) -> tuple[str, str]:
    """A paired gain in words, such as "0.0753 bpb worse", and the figure that was needed ("" for None).

    Four digits, and more where the two would read the same.
    """
    side = "no change" if gain == 0 else "better" if gain > 0 else "worse"
    size, limit = f"{abs(gain):.4f}", "" if needed is None else f"{needed:.4f}"
    for digits in range(5, 8):
        if size == limit and abs(gain) != needed:
            size, limit = f"{abs(gain):.{digits}f}", f"{needed:.{digits}f}"
    if gain == 0:
        return side, limit
    return f"{size} {TARGET.unit} {side}" if float(size) else f"less than 0.0001 {TARGET.unit} {side}", limit


def limit_words(gain: float, pairs: int, limit: str) -> str:
    """What the `limit` of an inconclusive or unconfirmed result would have meant, as a clause."""
    better = "" if gain > 0 else " better"
    if pairs > 1:
        return f"{limit}{better} was needed"
    return f"{limit} would count as worse" if gain < 0 else f"{limit}{better} would have been measured again"


def simpler(nodes_delta: int, nodes: int) -> bool:
    """Whether so many AST nodes fewer (negative) of `nodes` are clearly less code."""
    return nodes_delta <= -max(SIMPLER_NODES, SIMPLER_SHARE * nodes)


# -- the machine ----------------------------------------------------------------------------------------------------

BUSY = 1.5  # wall seconds per second of work from which a machine is busy with something else
UNEVEN = 0.7  # the slowest quarter's pace against the fastest
SLOWER = 0.8  # pace against the same code's earlier run
ASLEEP_S = 1.0
INTRUDER = 256 << 20  # bytes of the GPU in other hands, beyond what was so in the baseline
HELD_DOWN = 0.25  # share of the time with a clock held down, likewise: a hot laptop that always is so is no disturbance
# The gauge corrects most of a difference in speed (benchmarks/truth.py). What it leaves of this one is smaller than the noise.
CORRECTABLE = 0.2  # of the natural logarithm of the speed
NEAR_S, NEAR_JOBS = 900.0, 8.0  # without a gauge: seconds between two jobs, or times the longer one's length


class Conditions(Protocol):
    """When a score was measured, in seconds, how long that took, and how fast the machine was."""

    @property
    def t(self) -> float: ...
    @property
    def wall_s(self) -> float: ...
    @property
    def speed(self) -> float | None: ...


def comparable(one: Conditions, other: Conditions, device: str) -> bool:
    """Whether two scores make a pair: the gauge can take out the difference in speed, or, without one, they are near in time.

    A GPU of its own hardly changes; what disturbs it is seen by `disturbed`.
    """
    if device == "cuda":
        return True
    if not one.speed or not other.speed or min(one.speed, other.speed) <= 0:
        return abs(one.t - other.t) <= max(NEAR_S, NEAR_JOBS * max(one.wall_s, other.wall_s))
    return abs(math.log(one.speed / other.speed)) <= CORRECTABLE


def disturbed(
    result: Result, earlier: Result | None, *, same_code: bool, device: str = "cpu", baseline: Result | None = None,
    usual: int = 0,
) -> str | None:  # fmt: skip
    """Why the machine, not the idea, decided this result, as a clause; None when nothing speaks for that.

    `earlier` is an undisturbed job with a `pace`, of the same code or not; `baseline` the run's own; `usual` the bytes of
    the GPU that others held in the job before: what stays all night must not keep everything from being judged.

    The pace in steps per second of the budget tells: lower than the same code had, or lower for a while and then back. On a
    CPU the gauge has taken the machine's speed out of it, and it must have seen other work as well; a long wait alone says
    nothing. A pace that differs from other code's, or that an edit lets fall or rise all through the run (a growing batch), is
    the edit's own.
    """
    if result.suspended_s > ASLEEP_S:
        return f"the machine slept for {result.suspended_s:.0f} s during it"
    before = tuple(earlier.pace) if earlier is not None and same_code else ()
    ratio = _mean(result.pace) / _mean(before) if result.pace and before and _mean(before) > 0 else 1.0
    slowest = min(result.pace) / max(result.pace) if len(result.pace) > 1 and max(result.pace) > 0 else 1.0
    uneven, one_way = slowest < UNEVEN, _one_way(result.pace)
    if device != "cpu":
        if words := intruder(result, max(usual, baseline.other_gpu_bytes if baseline else 0)):
            return words
        if (share := result.throttled_share - (baseline.throttled_share if baseline else 0.0)) > HELD_DOWN:
            return (
                f"the GPU's clock was held down (heat or power) for {share:.0%} more of the time than in the baseline"
            )
        if ratio < SLOWER:
            return f"something slowed the device down: {ratio:.0%} of the pace that the same code had before"
        if uneven and not one_way:
            return f"something slowed the device down for a while: to {slowest:.0%} of its pace in the same run"
        return None
    busy = _busy(result)
    if busy <= BUSY:
        return None
    if result.outcome is Outcome.TIMEOUT:
        return f"other work kept the machine busy: it took {busy:.1f} s for each second of work"
    if ratio < SLOWER:
        return f"other work slowed the machine down: {ratio:.0%} of the pace that the same code had before"
    if uneven and not (one_way and result.speed is not None):  # where it is measured, a change of speed is taken out
        return f"other work slowed the machine down for a while: to {slowest:.0%} of its pace in the same run"
    return None


def _busy(result: Result) -> float:
    """Wall seconds per second of work: of the gauge, or of the trainer where there is none."""
    if result.speed is not None:
        return result.speed.busy
    return result.wall_s / result.cpu_s if result.cpu_s > 0 else 1.0


def intruder(result: Result, usual: int) -> str | None:
    """That other processes held more of the GPU's memory than the `usual` bytes, as a clause."""
    more = result.other_gpu_bytes - usual
    return f"another process took {more / 1e9:.1f} GB of the GPU during it" if more > INTRUDER else None


def _one_way(pace: Sequence[float]) -> bool:
    """Only ever falling, or only ever rising."""
    steps = [after - before for before, after in pairwise(pace)]
    return all(step <= 0 for step in steps) or all(step >= 0 for step in steps)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
