"""The keep rule and the other judgements, as pure functions of numbers.

A candidate is measured on the same seeds as the best. With n pairs, mean gain m and noise sigma of one measurement,
z = m / (sigma * sqrt(2 / n)). It is dropped as soon as z falls below FUTILE[n], kept as soon as it reaches KEEP[n], and
measured on another seed in between: a group-sequential test (Jennison and Turnbull, 1999). The bounds were found by
`benchmarks/policy.py`: at most one useless change in fifty is kept, also when the prior noise is off by half.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from core.model import Outcome, Result

FUTILE = {1: 0.5, 2: 1.0, 3: 1.6}
KEEP = {2: 2.9, 3: 2.6, 4: 2.4}
MAX_PAIRS = 4
SIMPLER_SHARE, SIMPLER_NODES = 0.01, 8  # what counts as clearly less code, in AST nodes
SIMPLER_PAIRS = 2
DRIFT = 0.5  # sigmas that a simplification may lie above the best confirmed score

Action = Literal["discard", "measure", "keep", "simplify"]


@dataclass(frozen=True)
class Decision:
    """What to do with a candidate. For "measure": on which seed, and whether the best or the candidate lacks it."""

    action: Action
    reason: str
    gain: float | None = None  # mean paired improvement in bpb, positive is better
    error: float | None = None  # its standard error
    pairs: int = 0
    seed: int | None = None
    who: Literal["candidate", "best"] = "candidate"
    within_noise: bool = False


def seed(run_seed: int, index: int) -> int:
    """The seed of the index-th repeat: the same for every commit of a run, so that scores pair up."""
    return (run_seed * 1_000_003 + index * 7919) % 2_147_483_647


def decide(
    candidate: Mapping[int, float],
    best: Mapping[int, float],
    sigma: float,
    *,
    run_seed: int,
    nodes_delta: int = 0,
    nodes: int = 0,
    best_confirmed: float | None = None,
) -> Decision:
    """Keep, simplify, discard, or measure further; `candidate` and `best` map seeds to val_bpb.

    Raises ValueError for scores that are no scores (not finite, or not above 0) and for a noise that is none.
    """
    if not sigma > 0 or not math.isfinite(sigma):
        raise ValueError(f"a noise of {sigma} is none")
    for value in (*candidate.values(), *best.values()):
        if not math.isfinite(value) or value <= 0:
            raise ValueError(f"{value} is no val_bpb")
    order = [seed(run_seed, index) for index in range(MAX_PAIRS)]
    for wanted in order[: max(1, len(candidate))]:
        if wanted in candidate and wanted not in best:
            return Decision("measure", "the best lacks this seed", seed=wanted, who="best")
    shared = [s for s in candidate if s in best]
    if not shared:
        return Decision(
            "measure", "no score yet", seed=order[0], who="candidate" if order[0] not in candidate else "best"
        )
    n = len(shared)
    gain = sum(best[s] - candidate[s] for s in shared) / n
    error = sigma * math.sqrt(2 / n)
    z = gain / error
    arithmetic = f"{gain:+.4f} +- {error:.4f} over {n} seed{'s' if n > 1 else ''}"

    def end(action: Action, words: str, *, noise: bool) -> Decision:
        return Decision(action, f"{words} ({arithmetic})", gain, error, n, within_noise=noise)

    if n >= 2 and z >= KEEP[min(n, MAX_PAIRS)]:
        return end("keep", "a real improvement", noise=False)
    simpler = nodes_delta <= -max(SIMPLER_NODES, SIMPLER_SHARE * nodes)
    if simpler and z > -1.0:
        level = sum(candidate.values()) / len(candidate)
        if n < SIMPLER_PAIRS:
            return _further(order, candidate, best, gain, error, n, "equal so far, with less code")
        if best_confirmed is None or level <= best_confirmed + DRIFT * sigma:
            return end("simplify", f"no difference, with {-nodes_delta} AST nodes less", noise=True)
    if n >= MAX_PAIRS or z < FUTILE[n]:
        if z < -2:
            return end("discard", "worse", noise=False)
        return end("discard", "did not repeat" if n > 1 else "no difference", noise=True)
    return _further(order, candidate, best, gain, error, n, "promising")


def _further(
    order: Sequence[int],
    candidate: Mapping[int, float],
    best: Mapping[int, float],
    gain: float,
    error: float,
    n: int,
    words: str,
) -> Decision:
    wanted = next(s for s in order if s not in candidate or s not in best)
    who: Literal["candidate", "best"] = "candidate" if wanted not in candidate else "best"
    return Decision("measure", f"{words}, measured again", gain, error, n, seed=wanted, who=who)


# -- the machine ----------------------------------------------------------------------------------------------------

WAITING = 1.5  # wall seconds per CPU second from which a busy machine is suspected
UNEVEN = 0.7  # the slowest quarter's pace against the fastest
SLOWER = 0.8  # pace against the same code's earlier run
ASLEEP_S = 1.0


def disturbed(result: Result, earlier: object | None, *, same_code: bool) -> str | None:
    """Why the machine, not the idea, decided this result; None when nothing speaks for that.

    On a CPU the budget is CPU time, so waiting alone does no harm: only when the pace in steps per CPU second fell
    with it. An edit's own slowness is even over the run and is no disturbance.
    """
    if result.suspended_s > ASLEEP_S:
        return f"the machine slept for {result.suspended_s:.0f} s during it"
    waiting = result.wall_s / result.cpu_s if result.cpu_s > 0 else 1.0
    if result.outcome is Outcome.TIMEOUT:
        return f"it had to wait {waiting:.1f} times as long as it could work" if waiting > WAITING else None
    uneven = len(result.pace) >= 2 and min(result.pace) < UNEVEN * max(result.pace)
    before = getattr(earlier, "pace", ())
    fell = bool(same_code and before and result.pace) and _mean(result.pace) < SLOWER * _mean(before)
    if waiting > WAITING and (uneven or fell):
        return f"other work on the machine slowed it down (it waited {waiting - 1:.1f} s for each second of work)"
    return None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
