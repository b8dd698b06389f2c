"""Many simulated nights of the agent `search`, on the shipped train.py and drawn worlds. No training, only numbers.

The kinds of worlds are in worlds.py. The agent is the real one, and so is the keep rule; a training costs a microsecond. The arms:

    search         the agent as it is
    panels         single changes, then panels of those that do not lose clearly (arm_panels.py)
    search+panels  the agent, with panels of what it has tried alone (arm_panels.py)
    old            the policy of the agent before it had a joint model (arm_old.py)
    tpe            joint multivariate TPE (Optuna) over the knobs that matter
    cmaes          CMA-ES over the same knobs (arm_cmaes.py)
    random         the same knobs, drawn at random
    untold         the agent, whose model is not told that a value of a knob has failed

The ratio of `search` to another arm is that of their mean gains over the same worlds. A night of a file that was written before
failures were counted has nan there.

python benchmarks/search_worlds.py [--worlds 12] [--trainings 150] [--arms search panels tpe] [--kinds plain recorded] [--keep FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import figures
import optuna
from arm_cmaes import cmaes
from arm_old import old
from arm_panels import panels, search_with_panels
from arms import distribution, important, setting, tpe_study
from simulated import SIGMA, START, Night
from simulated_record import Record, Row, row
from worlds import KINDS, Kind, World

from core.agents.base import AgentFailed, PastExperiment
from core.agents.search import joint
from core.agents.search.agent import Search
from core.agents.search.ranges import range_for
from core.change import edits

SHOWN = (50, 75, 100, 150)  # trainings after which the gain is shown
OURS = "search"
SURE = 2.0  # standard errors that a mean gain must be above 0 to be divided by


def search(night: Night) -> None:
    """The agent as it is."""
    agent = Search()
    while True:
        night.try_out(agent.propose_now(night.context()))


def tpe(night: Night) -> None:
    """Joint TPE. What does not fit is drawn again, and is not told."""
    study = tpe_study(night.seed, "maximize")
    ranges = {name: range_for(knob) for name, knob in important(night.source).items()}
    while True:
        trial = study.ask({name: distribution(found) for name, found in ranges.items()})
        proposal = setting(night.source, {name: found.decode(trial.params[name]) for name, found in ranges.items()})
        if proposal is None or night.try_out(proposal) is None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        assert proposal.source is not None
        scores = night.scores[edits.fingerprint(proposal.source)].values()
        study.tell(trial, (START - sum(scores) / len(scores)) / SIGMA)


def at_random(night: Night) -> None:
    """Uniform in the same ranges."""
    dice = random.Random(f"random {night.seed}")
    ranges = {name: range_for(knob) for name, knob in important(night.source).items()}
    while True:
        if proposal := setting(night.source, {name: found.at(dice.random()) for name, found in ranges.items()}):
            night.try_out(proposal)


def untold(night: Night) -> None:
    """The agent, whose model is not told that a value of a knob has failed. It still does not repeat it."""
    with failures_untold():
        search(night)


@contextlib.contextmanager
def failures_untold() -> Iterator[None]:
    """Leave the joint model without the large loss of a knob's value that failed."""
    told = joint._failed_alone
    joint._failed_alone = _never
    try:
        yield
    finally:
        joint._failed_alone = told


def _never(one: PastExperiment) -> bool:
    return False


ARMS: dict[str, Callable[[Night], None]] = {
    "search": search, "panels": panels, "search+panels": search_with_panels, "old": old, "tpe": tpe, "cmaes": cmaes,
    "random": at_random, "untold": untold,
}  # fmt: skip


def run(arm: str, kind: Kind, source: str, seed: int, trainings: int) -> Night:
    """One night of one arm."""
    night = Night(World(kind, source, seed), source, seed, trainings + 1)
    with contextlib.suppress(StopIteration, AgentFailed):
        ARMS[arm](night)
    return night


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Return the ratio of the mean gains of two arms in the same worlds, and its standard error over the worlds.

    Both are nan if the mean to divide by is not clearly above 0. The error is that of the delta method for pairs.
    """
    mean, count = statistics.fmean(theirs), len(theirs)
    if count < 2 or mean <= SURE * statistics.stdev(theirs) / count**0.5:
        return math.nan, math.nan
    found = statistics.fmean(ours) / mean
    left = [one - found * other for one, other in zip(ours, theirs, strict=True)]
    return found, statistics.stdev(left) / count**0.5 / mean


def simulated(record: Record, kind: str, arm: str, source: str, seed: int, trainings: int) -> Row:
    """Return a night from the record, or simulate it and add it there."""
    if (found := record.find(kind, arm, seed, trainings)) is not None:
        return found
    began = time.perf_counter()
    night = run(arm, KINDS[kind], source, seed, trainings)
    counts = {"failed": sum(past.verdict.failed for past in night.past)}
    record.add([row(night, kind, arm, trainings, began, counts)])
    return record.rows[-1]


def line(rows: Sequence[Row], shown: Sequence[int]) -> str:
    """Return the mean gains of the nights of one arm in worlds of one kind, and what was kept."""
    gains = "".join(f"{statistics.fmean(one.gain(trainings) for one in rows):>8.2f}" for trainings in shown)
    kept, false = (
        statistics.fmean(sum(at <= shown[-1] for at in found) for found in every)
        for every in ([one.keeps for one in rows], [one.mistakes for one in rows])
    )
    each = statistics.fmean(one.seconds for one in rows)
    failed = statistics.fmean(one.counts.get("failed", math.nan) for one in rows)
    return f"{rows[0].kind:<10}{rows[0].arm:<14}{gains}{kept:>8.1f}{false:>7.2f}{failed:>8.1f}{each:>7.1f}"


def difference(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Return the mean difference of the gains of two arms in the same worlds, and its standard error over the worlds."""
    less = [one - other for one, other in zip(ours, theirs, strict=True)]
    return figures.mean(less), figures.mean_error(less)


def ratios(
    nights: dict[tuple[str, str], list[Row]],
    shown: Sequence[int],
    compare: Callable[[Sequence[float], Sequence[float]], tuple[float, float]] = ratio,
) -> list[str]:
    """Return how the gains of `search` compare with those of each other arm as lines: in each kind of world, and in all.

    Args:
        nights: By kind and arm, in the order of the worlds.
        shown: After how many trainings.
        compare: Takes the gains of `search` and those of the other arm. Returns a figure and its standard error.
    """
    kinds, arms = (list(dict.fromkeys(names)) for names in zip(*nights, strict=True))
    lines = []
    for other in arms:
        if other == OURS or OURS not in arms:
            continue
        for name, some in [*((kind, [kind]) for kind in kinds), *([("all", kinds)] if len(kinds) > 1 else [])]:
            cells = []
            for count in shown:
                ours, theirs = (
                    [one.gain(count) for kind in some for one in nights[kind, arm]] for arm in (OURS, other)
                )
                found, error = compare(ours, theirs)
                cells.append("-" if math.isnan(found) else f"{found:.2f} ± {error:.2f}")
            lines.append(f"{name:<10}{other:<14}" + "".join(f"{cell:>16}" for cell in cells))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=12)
    parser.add_argument("--trainings", type=int, default=SHOWN[-1])
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=[OURS, "random"])
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=list(KINDS))
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write each night to it, and go on where it ends")
    options = parser.parse_args()
    source, record = (ROOT / "nanochat" / "train.py").read_text(encoding="utf-8"), Record(options.keep)
    shown = [count for count in SHOWN if count <= options.trainings] or [options.trainings]
    print(
        "true gain of the best after so many trainings, in standard deviations of one score; kept, of them by mistake, failed; s a night"
    )
    print(f"{'world':<10}{'arm':<14}" + "".join(f"{count:>8}" for count in shown) + "    kept  false  failed      s")
    nights: dict[tuple[str, str], list[Row]] = {}
    for kind in options.kinds:
        for arm in options.arms:
            nights[kind, arm] = [
                simulated(record, kind, arm, source, seed, options.trainings) for seed in range(1, options.worlds + 1)
            ]
            print(line(nights[kind, arm], shown), flush=True)
    for arm in options.arms:
        means = [
            statistics.fmean(statistics.fmean(one.gain(count) for one in nights[kind, arm]) for kind in options.kinds)
            for count in shown
        ]
        print(f"{'mean':<10}{arm:<14}" + "".join(f"{mean:>8.2f}" for mean in means))
    for words, compare in (
        (
            "/ gain of the other arm, with its standard error over the worlds; - if that gain is not clearly above 0",
            ratio,
        ),
        ("- gain of the other arm, with its standard error over the worlds", difference),
    ):
        if found := ratios(nights, shown, compare):
            print(f"gain of {OURS} {words}")
            print(f"{'world':<10}{'other':<14}" + "".join(f"{count:>16}" for count in shown))
            print("\n".join(found))


if __name__ == "__main__":
    main()
