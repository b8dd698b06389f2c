"""Simulated second nights: what a run gains by what earlier runs in the same world have measured. No training, only numbers.

    python benchmarks/second_nights.py [--worlds 12] [--trainings 75] [--kinds recorded plain] [--nights 2] [--arms "as it is" ...]

In each world, some nights of 50 trainings that know nothing come first (--nights, or 2). Then each arm makes two nights with other luck:

    knows nothing     as with --no-earlier
    as it is          knows the effects of the first nights
    gained drawn      the same, but ideas that gained are drawn like all others
    counted once      the same as "as it is", but an effect counts once however often it was measured

The gains are the true ones of the best, in standard deviations of one score. The differences are paired over the worlds.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from figures import mean, mean_error
from msgspec.structs import replace
from simulated import Night
from worlds import KINDS, World

from core.agents.base import AgentFailed, Context
from core.agents.search import agent
from core.agents.search.agent import Search
from core.model import Effect, Value
from core.run.earlier_runs import merged

FIRST_TRAININGS, NIGHTS = 50, 2  # NIGHTS: of each arm
NEVER = 1e9  # a gain that no idea has
SHOWN = (25, 50, 75)
NOTHING, AS_IT_IS, DRAWN, ONCE = ARMS = ("knows nothing", "as it is", "gained drawn", "counted once")


class SecondNight(Night):
    """A night that knows some effects when it begins."""

    earlier: tuple[Effect, ...] = ()

    def context(self, parent: str | None = None) -> Context:
        return replace(super().context(parent), earlier=self.earlier)


def play(world: World, source: str, seed: int, trainings: int, earlier: tuple[Effect, ...] = ()) -> Night:
    """One night of the agent."""
    night = SecondNight(world, source, seed, trainings + 1)
    night.earlier = earlier
    with contextlib.suppress(StopIteration, AgentFailed):
        while True:
            night.try_out(Search().propose_now(night.context()))
    return night


def effects(nights: list[Night]) -> Iterator[Effect]:
    """Yield what nights have measured: the effect of each scored experiment."""
    for one in (past for night in nights for past in night.past):
        moved = {name: one.constants[name] for name in one.proposal.notes.knobs or {} if name in one.constants}
        before: dict[str, Value] = {name: pair[0] for name, pair in moved.items()}
        after: dict[str, Value] = {name: pair[1] for name, pair in moved.items()}
        names = one.proposal.notes.edits or ()
        if one.gain is not None and (names or after):
            yield Effect(gain=one.gain, edits=names, step=one.proposal.notes.step, before=before, after=after)


def after(night: Night, trainings: int) -> float:
    """The true gain of the best after so many trainings."""
    return night.curve[min(trainings, len(night.curve)) - 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=12)
    parser.add_argument("--trainings", type=int, default=max(SHOWN))
    parser.add_argument("--kinds", nargs="+", default=["recorded", "plain"], choices=list(KINDS))
    parser.add_argument("--nights", type=int, default=2, help="earlier nights in each world")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    options = parser.parse_args()
    arms = list(dict.fromkeys([*options.arms, AS_IT_IS]))
    source, gained = (ROOT / "nanochat" / "train.py").read_text(encoding="utf-8"), agent.GAINED
    shown = [count for count in SHOWN if count <= options.trainings]
    for kind in options.kinds:
        # By world, after each of the numbers of trainings that are shown.
        gains: dict[str, list[list[float]]] = {arm: [] for arm in arms}
        for seed in range(1, options.worlds + 1):
            world = World(KINDS[kind], source, seed)
            known = merged(
                [*effects([play(world, source, 100 * seed + one, FIRST_TRAININGS) for one in range(options.nights)])]
            )
            for arm in arms:
                agent.GAINED = NEVER if arm == DRAWN else gained
                once = tuple(replace(effect, times=1) for effect in known)
                earlier = () if arm == NOTHING else once if arm == ONCE else known
                nights = [
                    play(world, source, 100 * seed + 50 + one, options.trainings, earlier) for one in range(NIGHTS)
                ]
                gains[arm].append([mean([after(night, count) for night in nights]) for count in shown])
        print(f"{kind}, {options.worlds} worlds, after {', '.join(map(str, shown))} trainings")
        for arm in arms:
            found = [mean([world[at] for world in gains[arm]]) for at in range(len(shown))]
            apart = [
                [one[at] - other[at] for one, other in zip(gains[AS_IT_IS], gains[arm], strict=True)]
                for at in range(len(shown))
            ]
            differences = "  ".join(f"{mean(some):+.1f} ± {mean_error(some):.1f}" for some in apart)
            words = "" if arm == AS_IT_IS else f"  as it is, less this: {differences}"
            print(f"  {arm:<18}" + "".join(f"{gain:>7.1f}" for gain in found) + words, flush=True)


if __name__ == "__main__":
    main()
