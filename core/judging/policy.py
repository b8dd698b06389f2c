"""The keep rule, and the detection of disturbed measurements. Pure.

A candidate is measured on the same seeds as the incumbent. With n pairs, mean gain m and noise sigma of one measurement,
z = m / (sigma * sqrt(2 / n)). The candidate is discarded as soon as z falls below FUTILE[n] and kept as soon as z reaches
KEEP[n]. In between it is measured on another seed. This is a group-sequential test (Jennison and Turnbull, 1999). One pair is
never enough to keep a change, since the first scores of many candidates include lucky ones.

The bounds come from a random search, with the noise known and no correlation within a pair. The search allowed at most one
useless change in 500 to be kept. Of such bounds, these find the most gains of two and three sigmas for the trainings they
cost: 66% and 93%. A useless change costs 1.55 trainings on average. In the simulation of `benchmarks/policy.py` at most one
useless change in 180 is kept. There the noise is estimated from the run itself, with a prior that is wrong by up to a factor
of two. After 30 changes that change nothing, the noise is underestimated, and at most one in 70 is kept. The optimum is
flat: changing a bound by a tenth changes these figures little.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from core.record.experiment import Conditions
from core.target import TARGET
from nanochat.contract.job import Outcome, Result

FUTILE = {1: 0.6, 2: 0.9, 3: 1.15, 4: 1.4, 5: 1.65, 6: 1.9, 7: 2.2}
KEEP = {2: 3.8, 3: 3.65, 4: 3.5, 5: 3.35, 6: 3.2, 7: 3.05, 8: 2.9}
MAX_PAIRS = 8
WORSE = -2.0  # a z below this counts as worse; between this and KEEP a result is inconclusive
SIMPLER_SHARE, SIMPLER_NODES = 0.01, 8  # less code: at least this share of the AST nodes, and at least this number
SIMPLER_PAIRS = 2
SIMPLER_Z = -1.0  # a simplification with a z below this is not measured further
ABLATED_PAIRS = 4  # an ablation that is no worse on the mean of so many pairs is kept
DRIFT = 0.25  # sigmas that a simplification may lie above the best confirmed score, so that losses do not add up

Action = Literal["discard", "measure", "keep", "simplify"]
Who = Literal["candidate", "incumbent"]


@dataclass(frozen=True)
class Decision:
    """What to do with a candidate.

    Attributes:
        action: Keep it, keep it as a simplification, discard it, or measure on another seed.
        reason: A clause for humans, with the figures.
        gain: Mean paired improvement in bpb; positive is better. None without a pair.
        error: The standard error of `gain`, in bpb.
        pairs: The number of pairs behind `gain`.
        seed: For "measure": the seed to train on.
        who: For "measure": whether the candidate or the incumbent lacks a score on that seed.
        within_noise: Whether the result is inconclusive or not confirmed, or kept only because it is simpler.
        needed: The gain or loss in bpb, positive, from which the outcome would have been different. For "keep" it is the
            gain that was required; for a clear loss, the smallest loss that counts as worse. None for "measure".
    """

    action: Action
    reason: str
    gain: float | None = None
    error: float | None = None
    pairs: int = 0
    seed: int | None = None
    who: Who = "candidate"
    within_noise: bool = False
    needed: float | None = None


def seed(run_seed: int, index: int) -> int:
    """Return the index-th seed of a run. It is the same for every commit, so that scores form pairs."""
    return (run_seed * 1_000_003 + index * 7919) % 2_147_483_647


def order(incumbent: Mapping[int, float], run_seed: int, failed: Collection[int] = ()) -> list[int]:
    """Return the seeds on which a candidate is measured, the first one first.

    Those come first on which the incumbent's score is closest to its mean. On the others it was lucky or unlucky, and would
    make every candidate look worse or better. Without an effect of the seed itself, the difference from the mean is luck. With
    one, it cancels in the pair on any seed. The seeds without a score of the incumbent come last.

    Args:
        incumbent: seed -> val_bpb of the incumbent.
        run_seed: The seed of the run.
        failed: Seeds that are left out, since the incumbent fails on them. Others take their places.
    """
    seeds = [seed(run_seed, index) for index in range(max(MAX_PAIRS, len(incumbent)) + len(failed))]
    seeds = [s for s in dict.fromkeys([*seeds, *incumbent]) if s not in failed]
    mean = sum(incumbent.values()) / len(incumbent) if incumbent else 0.0
    # Rounding, so that two scores count as equally far from their mean.
    return sorted(seeds, key=lambda s: round(abs(incumbent[s] - mean), 9) if s in incumbent else math.inf)


def paired_gain(candidate: Mapping[int, float], incumbent: Mapping[int, float]) -> float | None:
    """Return the mean gain on the seeds that both have, in bpb; positive is better. None without such a seed.

    Both arguments map a seed to a val_bpb.
    """
    gains = [TARGET.improvement(incumbent[seed], score) for seed, score in candidate.items() if seed in incumbent]
    return sum(gains) / len(gains) if gains else None


def standard_error(pairs: int, sigma: float) -> float:
    """Return the standard error of the mean gain over so many pairs, in bpb. `sigma`: noise of one score, in bpb."""
    return sigma * math.sqrt(2 / pairs)


def least_gain(pairs: int, sigma: float) -> float:
    """Return the least mean gain over so many pairs with which a candidate is kept, in bpb. `sigma`: noise of one score, in bpb.

    One pair is never enough. For it the bound of MAX_PAIRS is returned, which is the least that any number of pairs needs.
    """
    return KEEP.get(pairs, KEEP[MAX_PAIRS]) * standard_error(pairs, sigma)


def likely_pairs(candidate: Mapping[int, float], incumbent: Mapping[int, float], sigma: float) -> int | None:
    """Return after how many pairs a candidate would be kept if its true gain were the one measured so far.

    Returns None if it would not be kept, and if it has no pair yet. The arguments are those of `decide`.
    """
    gain = paired_gain(candidate, incumbent)
    return None if gain is None else next((pairs for pairs in KEEP if gain >= least_gain(pairs, sigma)), None)


def pairs_at_once(measured: int, likely: int | None, most: int) -> int:
    """Return how many further pairs to measure at the same time, from 1 to `most`. `likely`: see `likely_pairs`."""
    return max(1, min(most, (likely or 0) - measured))


def decide(
    candidate: Mapping[int, float],
    incumbent: Mapping[int, float],
    sigma: float,
    *,
    run_seed: int,
    nodes_delta: int = 0,
    nodes: int = 0,
    best_confirmed: float | None = None,
    ablation: bool = False,
    failed: Collection[int] = (),
) -> Decision:
    """Decide whether to keep a candidate, discard it, or measure it on another seed.

    Args:
        candidate: seed -> val_bpb of the candidate.
        incumbent: seed -> val_bpb of the incumbent.
        sigma: Noise of one measurement, in bpb.
        run_seed: The seed of the run, from which all training seeds follow.
        nodes_delta: AST nodes of the candidate minus those of the incumbent. Negative for less code.
        nodes: AST nodes of the incumbent.
        best_confirmed: The best mean val_bpb of a kept commit that was measured more than once; None without one.
        ablation: Whether the candidate is the incumbent without one of its kept changes.
        failed: Seeds on which the incumbent fails. They are not measured, and neither argument has them.

    Returns:
        The decision. If both lack a score on the seed to measure, the candidate is measured first.

    Raises:
        ValueError: A score or the noise is not finite and positive.
    """
    _check("sigma", [sigma])
    confirmed = [] if best_confirmed is None else [best_confirmed]
    _check(TARGET.metric, [*candidate.values(), *incumbent.values(), *confirmed])
    seeds = order(incumbent, run_seed, failed)
    missing = next((s for s in seeds if s not in candidate or s not in incumbent), None)
    if missing is not None and missing in candidate:
        return Decision("measure", "the best lacks a score on this seed", seed=missing, who="incumbent")
    gain = paired_gain(candidate, incumbent)
    if gain is None:
        return Decision("measure", "it has no score yet", seed=missing)
    n = len(candidate.keys() & incumbent.keys())
    paired = _Pairs(gain, standard_error(n, sigma), n)
    enough = least_gain(n, sigma)
    if n > 1 and gain >= enough:
        return paired.end("keep", "a real improvement", enough, noise=False)
    less, least_z, pairs, phrase = _simplification(nodes_delta, nodes, ablation=ablation)
    if paired.z >= least_z and less:
        if n < pairs:
            return paired.further(phrase if ablation else "inconclusive so far, with less code", missing)
        level = sum(candidate.values()) / len(candidate)
        if best_confirmed is None or TARGET.improvement(best_confirmed, level) >= -DRIFT * sigma:
            return paired.end("simplify", phrase, enough, noise=True)
    if n < MAX_PAIRS and paired.z >= FUTILE[n]:
        return paired.further("promising", missing)
    if paired.z < WORSE:
        return paired.end("discard", "worse", -WORSE * paired.error, noise=False)
    if n > 1:
        return paired.end("discard", "not confirmed", enough, noise=True)
    return paired.end("discard", "inconclusive", (-WORSE if gain < 0 else FUTILE[1]) * paired.error, noise=True)


def _simplification(nodes_delta: int, nodes: int, *, ablation: bool) -> tuple[bool, float, int, str]:
    """Return whether a change is simpler, the least z, the number of pairs from which it is kept for that, and a phrase for it."""
    if ablation:
        return nodes_delta <= 0, 0.0, ABLATED_PAIRS, "no worse without the change"
    return simpler(nodes_delta, nodes), SIMPLER_Z, SIMPLER_PAIRS, f"inconclusive, with {-nodes_delta} AST nodes fewer"


class _Pairs(NamedTuple):
    """The pairs of a candidate and the incumbent: the mean gain and its standard error in bpb, and their number."""

    gain: float
    error: float
    n: int

    @property
    def z(self) -> float:
        return self.gain / self.error

    @property
    def _over(self) -> str:
        return f"over {self.n} seed{'s' if self.n > 1 else ''}, with a standard error of {self.error:.4f}"

    def end(self, action: Action, phrase: str, needed: float, *, noise: bool) -> Decision:
        """Return a verdict. `needed`: the gain or loss in bpb from which it would have been another. `noise`: within it."""
        change, limit = figures(self.gain, needed)
        clear = f"{limit} {'was needed' if self.gain > 0 else 'counts as worse'}"
        hint = limit_words(self.gain, self.n, limit) if noise else clear
        reason = f"{phrase}: {change} {self._over}; {hint}"
        return Decision(action, reason, self.gain, self.error, self.n, within_noise=noise, needed=needed)

    def further(self, phrase: str, seed: int | None) -> Decision:
        """Return the decision to measure on another seed."""
        reason = f"{phrase}, so it is measured again: {figures(self.gain)[0]} {self._over}"
        return Decision("measure", reason, self.gain, self.error, self.n, seed=seed)


def _check(name: str, values: Iterable[float]) -> None:
    """Raise ValueError if a value is not finite and positive."""
    for value in values:
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be finite and positive, got {value}")


def figures(gain: float, needed: float | None = None) -> tuple[str, str]:
    """Return a paired gain as text, such as "0.0753 bpb worse", and the figure that was needed ("" for None).

    Both have four decimal places, or up to seven if they would look the same otherwise.
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
    """Return a clause that says what reaching the `limit` would have meant for an inconclusive or unconfirmed result."""
    if pairs > 1:
        return f"{limit} was needed" if gain > 0 else f"{limit} better was needed"
    return (
        f"a loss of {limit} would count as worse" if gain < 0 else f"a gain of {limit} would have been measured again"
    )


def simpler(nodes_delta: int, nodes: int) -> bool:
    """Return whether a change of `nodes_delta` AST nodes (negative for fewer) from `nodes` is clearly less code."""
    return nodes_delta <= -max(SIMPLER_NODES, SIMPLER_SHARE * nodes)


# -- the machine ----------------------------------------------------------------------------------------------------

BUSY = 1.5  # wall seconds per second of work; above this the machine is busy with other work
UNEVEN = 0.7  # pace of the slowest quarter relative to the fastest
SLOWER = 0.8  # pace relative to an earlier run of the same code
ASLEEP_S = 1.0
INTRUDER = 256 << 20  # bytes of GPU memory that other processes may hold beyond those during the baseline
HELD_DOWN = 0.25  # share of the time with a throttled clock beyond that of the baseline
# A difference in the natural logarithm of the speed. The gauge corrects most of it (benchmarks/truth.py), and the rest is
# smaller than the noise.
CORRECTABLE = 0.2
NEAR_S, NEAR_JOBS = 900.0, 8.0  # without a gauge: seconds between two jobs, or multiples of the longer job


def comparable(first: Conditions, second: Conditions, device: str) -> bool:
    """Return whether two scores can form a pair.

    The difference in the machine's speed must be small enough for the gauge to correct. Without a gauge the scores must have
    been measured at about the same time. On CUDA scores always form a pair, since a GPU's speed hardly changes. `disturbed`
    detects the exceptions.
    """
    if device == "cuda":
        return True
    if not first.speed or not second.speed or min(first.speed, second.speed) <= 0:
        return abs(first.t - second.t) <= max(NEAR_S, NEAR_JOBS * max(first.wall_s, second.wall_s))
    return abs(math.log(first.speed / second.speed)) <= CORRECTABLE


def disturbed(
    result: Result, earlier: Result | None, *, same_code: bool, device: str = "cpu", baseline: Result | None = None,
    usual: int = 0,
) -> str | None:  # fmt: skip
    """Return why the machine, not the change, decided a result, as a clause; None if nothing indicates that.

    The sign of a disturbance is the pace, in steps per second of the budget. It is lower than the same code had before, or
    lower for a while and then normal again. On a CPU the pace is already corrected for the machine's speed by the gauge. There the gauge
    must also have seen other work; a long wall time alone is not a sign. A pace that differs from other code's, or that only falls
    or only rises during the training (as with a growing batch), is an effect of the change.

    Args:
        result: The result to check.
        earlier: An undisturbed job with a `pace`, or None.
        same_code: Whether `earlier` trained the same code.
        device: cpu, cuda or mps.
        baseline: The baseline of the run.
        usual: Bytes of GPU memory that other processes held in the previous job. Memory that is held all the time does not
            count as a disturbance.
    """
    if result.suspended_s > ASLEEP_S:
        return f"the machine slept for {result.suspended_s:.0f} s during it"
    before = tuple(earlier.pace) if earlier is not None and same_code else ()
    ratio = _mean(result.pace) / _mean(before) if result.pace and before and _mean(before) > 0 else 1.0
    slowest = min(result.pace) / max(result.pace) if len(result.pace) > 1 and max(result.pace) > 0 else 1.0
    uneven, one_way = slowest < UNEVEN, _one_way(result.pace)
    if device != "cpu":
        if reason := intruder(result, max(usual, baseline.other_gpu_bytes if baseline else 0)):
            return reason
        if (share := result.throttled_share - (baseline.throttled_share if baseline else 0.0)) > HELD_DOWN:
            return (
                f"the GPU's clock was held down (heat or power) for {share:.0%} more of the time than in the baseline"
            )
        if ratio < SLOWER:
            return f"the device was slower: {ratio:.0%} of the earlier pace of the same code"
        if uneven and not one_way:
            return f"the device was slower for a while: {slowest:.0%} of its pace in the same training"
        return None
    busy = _busy(result)
    if busy <= BUSY:
        return None
    if result.outcome is Outcome.TIMEOUT:
        return f"other programs kept the machine busy: it took {busy:.1f} s for each second of work"
    if ratio < SLOWER:
        return f"other programs slowed the machine down: {ratio:.0%} of the earlier pace of the same code"
    if uneven and not (one_way and result.speed is not None):  # with a gauge the pace is corrected for the speed
        return f"other programs slowed the machine down for a while: {slowest:.0%} of its pace in the same training"
    return None


def _busy(result: Result) -> float:
    """Return wall seconds per second of work, measured by the gauge, or by the trainer if there is no gauge."""
    if result.speed is not None:
        return result.speed.busy
    return result.wall_s / result.cpu_s if result.cpu_s > 0 else 1.0


def intruder(result: Result, usual: int) -> str | None:
    """Return a clause if other processes held clearly more GPU memory than the `usual` bytes, else None."""
    more = result.other_gpu_bytes - usual
    return f"another process took {more / 1e9:.1f} GB of the GPU during it" if more > INTRUDER else None


def _one_way(pace: Sequence[float]) -> bool:
    """Return whether the pace only falls or only rises."""
    steps = [after - before for before, after in pairwise(pace)]
    return all(step <= 0 for step in steps) or all(step >= 0 for step in steps)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
