"""Simulate many nights under the keep rule, without training: false keeps, missed gains, and extra trainings.

A night is a series of changes with known true effects. Most have no effect; the others help or harm by half to six times the
noise of one score. As in a run, the noise estimate starts with a prior, which is wrong by up to a factor of two, and learns from
pairs. Scores of the best are cached, and the best is measured again every eight experiments.

python benchmarks/policy.py [--nights 400] [--experiments 60] [--seed 1]
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from core.judging import policy
from core.judging.noise import Noise
from core.judging.schedule import MAX_INCUMBENT_SEEDS, REMEASURE_EVERY

USELESS = 0.7  # share of changes without effect
EFFECTS = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0)  # size of the other effects, in true sigmas
HARMFUL = 0.6  # share of the other effects that are harmful
SIMPLER = 0.1  # share of changes that remove code
NODES = 2000
SIGMA = 0.008  # standard deviation of one score, including the effect of its seed; the unit of effects
WRONG = (0.5, 1.0, 2.0)  # true noise / prior; the noise is the part that pairing does not cancel
SAME = 0.05  # noise of the machine between equal versions, in sigmas


@dataclass
class Tally:
    """Counts over many nights."""

    useless: int = 0
    false_keeps: int = 0
    harmful: int = 0
    harmful_keeps: int = 0
    tried: dict[float, int] = field(default_factory=lambda: defaultdict(int))
    kept: dict[float, int] = field(default_factory=lambda: defaultdict(int))
    simplified: int = 0
    experiments: int = 0
    runs: int = 0
    improved: float = 0.0  # true gain of the best, in sigmas, summed over nights
    drift: list[float] = field(default_factory=list)  # sigmas lost by simplifications in each night
    believed: list[float] = field(default_factory=list)  # believed / true noise at the end of each night
    covered: int = 0  # nights whose interval contained the true noise

    def within(self, share: float) -> float:
        """Return the share of nights whose final noise estimate is wrong by at most `share`."""
        return sum(abs(ratio - 1) <= share for ratio in self.believed) / len(self.believed)

    @property
    def false_per_50(self) -> float:
        """False keeps per 50 changes without effect."""
        return 50 * self.false_keeps / max(1, self.useless)

    @property
    def extra_runs(self) -> float:
        """Trainings after the first one per experiment, including those of the best."""
        return self.runs / max(1, self.experiments) - 1


@dataclass
class Commit:
    """A version of the file with its true score and its measured scores."""

    truth: float
    scores: dict[int, float] = field(default_factory=dict)
    chance: dict[int, float] = field(default_factory=dict)  # noise by seed; equal versions share the dict
    children: list[dict[int, float]] = field(default_factory=list)  # scores of candidates based on it


def night(
    dice: random.Random, experiments: int, wrong: float, tally: Tally, *, correlation: float, useless: float, same: int = 0
) -> None:  # fmt: skip
    """Simulate one night.

    Args:
        dice: The random generator.
        experiments: Number of experiments.
        wrong: True noise / prior.
        tally: Receives the counts.
        correlation: Correlation of two versions' scores on the same seed.
        useless: Share of changes without effect.
        same: Number of changes at the start that remove code without effect. Their scores equal those of the best, except for
            the noise of the machine.
    """
    noise_of_a_pair = SIGMA * (1 - correlation) ** 0.5
    prior = noise_of_a_pair / wrong
    shared: dict[int, float] = defaultdict(lambda: dice.gauss(0, SIGMA))

    def measure(commit: Commit, seed: int) -> None:
        own = commit.chance.setdefault(seed, dice.gauss(0, noise_of_a_pair))
        machine = dice.gauss(0, SAME * SIGMA) if same else 0.0
        commit.scores[seed] = commit.truth + correlation**0.5 * shared[seed] + own + machine
        tally.runs += 1

    run_seed = dice.randrange(10**6)
    order = [policy.seed(run_seed, index) for index in range(MAX_INCUMBENT_SEEDS)]
    incumbent = Commit(truth=1.6)
    measure(incumbent, order[0])
    tally.runs -= 1  # the baseline does not count
    line, since, lost = [incumbent], 0, 0.0

    for index in range(experiments):
        effect = 0.0
        if index >= same and dice.random() >= useless:
            effect = dice.choice(EFFECTS) * (-1 if dice.random() < HARMFUL else 1)
        simpler = index < same or dice.random() < SIMPLER
        candidate = Commit(incumbent.truth - effect * SIGMA, chance=incumbent.chance if index < same else {})
        measure(candidate, policy.order(incumbent.scores, run_seed)[0])
        incumbent.children.append(candidate.scores)
        while True:
            repeats = max((commit.scores for commit in line), key=len)
            families = [(commit.scores, commit.children) for commit in line]
            noise = Noise.estimate(prior, tuple(repeats.values()), families)
            confirmed = [mean(commit) for commit in line if len(commit.scores) > 1]
            decision = policy.decide(
                candidate.scores, incumbent.scores, noise.sigma, run_seed=run_seed, nodes=NODES,
                nodes_delta=-60 if simpler else 0, best_confirmed=min(confirmed) if confirmed else mean(incumbent),
            )  # fmt: skip
            if decision.action != "measure":
                break
            assert decision.seed is not None
            measure(candidate if decision.who == "candidate" else incumbent, decision.seed)
            if decision.who == "incumbent":
                since = 0
        since += 1
        tally.experiments += 1
        if index < same:
            pass
        elif effect == 0:
            tally.useless += 1
            tally.false_keeps += decision.action == "keep"
        elif effect < 0:
            tally.harmful += 1
            tally.harmful_keeps += decision.action == "keep"
        else:
            tally.tried[effect] += 1
            tally.kept[effect] += decision.action in ("keep", "simplify")
        if decision.action in ("keep", "simplify"):
            if decision.action == "simplify":
                tally.simplified += 1
                lost += max(0.0, -effect)
            incumbent, since = candidate, 0
            line.append(incumbent)
        if since >= REMEASURE_EVERY and len(incumbent.scores) < MAX_INCUMBENT_SEEDS:
            measure(incumbent, next(seed for seed in order if seed not in incumbent.scores))
            since = 0
    tally.drift.append(lost)
    tally.improved += (line[0].truth - incumbent.truth) / SIGMA
    tally.believed.append(noise.sigma / noise_of_a_pair)
    low, high = noise.interval
    tally.covered += low <= noise_of_a_pair <= high


def mean(commit: Commit) -> float:
    return sum(commit.scores.values()) / len(commit.scores)


def simulate(
    nights: int, experiments: int, seed: int, wrong: float, *, correlation: float = 0.0, useless: float = USELESS,
    same: int = 0,
) -> Tally:  # fmt: skip
    """Simulate many nights with one error of the prior. Deterministic for a seed."""
    dice, tally = random.Random(f"{seed} {wrong} {correlation} {useless} {same}"), Tally()
    for _ in range(nights):
        night(dice, experiments, wrong, tally, correlation=correlation, useless=useless, same=same)
    return tally


def creeping(nights: int, experiments: int, seed: int, loss: float) -> float:
    """Return the mean loss of a night, in sigmas, when every change removes code and costs `loss` sigmas."""
    total = 0.0
    dice = random.Random(f"{seed} creeping {loss}")
    for _ in range(nights):
        order = [policy.seed(1, index) for index in range(MAX_INCUMBENT_SEEDS)]
        line = [Commit(1.6, {seed: dice.gauss(1.6, SIGMA) for seed in order[:2]})]
        for _ in range(experiments):
            incumbent = line[-1]
            truth = incumbent.truth + loss * SIGMA
            candidate = Commit(truth, {order[0]: dice.gauss(truth, SIGMA)})
            while True:
                decision = policy.decide(
                    candidate.scores, incumbent.scores, SIGMA, run_seed=1, nodes=NODES, nodes_delta=-60,
                    best_confirmed=min(mean(commit) for commit in line if len(commit.scores) > 1),
                )  # fmt: skip
                if decision.action != "measure":
                    break
                assert decision.seed is not None
                who = candidate if decision.who == "candidate" else incumbent
                who.scores[decision.seed] = dice.gauss(who.truth, SIGMA)
            if decision.action in ("keep", "simplify"):
                line.append(candidate)
        total += (line[-1].truth - line[0].truth) / SIGMA
    return total / nights


def show(options: argparse.Namespace, wrong: float, *, correlation: float, useless: float, same: int = 0) -> None:
    """Print one line of the table."""
    t = simulate(
        options.nights, options.experiments + same, options.seed, wrong, correlation=correlation, useless=useless, same=same
    )  # fmt: skip
    gains = "".join(f"{t.kept[e] / t.tried[e]:>6.0%}" if t.tried[e] else "     -" for e in EFFECTS)
    harm = 50 * t.harmful_keeps / max(1, t.harmful)
    ratios = sorted(t.believed)
    low, middle, high = (ratios[int(share * (len(ratios) - 1))] for share in (0.1, 0.5, 0.9))
    print(
        f"{useless:>7.0%} {correlation:>3g} {wrong:>5g}  {t.false_per_50:>8.2f}  {harm:>8.2f}  {t.extra_runs:>6.2f}  {middle:>8.2f}  "
        f"{low:.2f}-{high:.2f}  {t.within(0.25):>6.0%}  {t.covered / options.nights:>9.0%}   {gains}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--nights", type=int, default=400)
    parser.add_argument("--experiments", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.perf_counter()
    print(
        f"{options.nights} nights of {options.experiments} experiments for each line; effects in standard deviations of one score"
    )
    print("           true     kept by mistake     extra   believed noise / true      interval")
    print(
        "           noise/   per 50     per 50   runs    middle  80% of     within   holds     kept of real gains of size"
    )
    print(
        "useless rho prior   useless   harmful   a try           nights     25%      the true  "
        + "".join(f"{e:>6g}" for e in EFFECTS)
    )
    for useless, correlation in ((USELESS, 0.0), (USELESS, 0.7), (1.0, 0.0), (1.0, 0.7)):
        for wrong in WRONG:
            show(options, wrong, correlation=correlation, useless=useless)
    print("30 changes that remove code and change nothing else, then 60 useless ones:")
    for correlation in (0.0, 0.7):
        for wrong in WRONG:
            show(options, wrong, correlation=correlation, useless=1.0, same=30)
    for loss in (0.2, 0.5):
        lost = creeping(options.nights // 4, options.experiments, options.seed, loss)
        print(f"a night of nothing but shorter code, each {loss:g} sigma worse: {lost:.2f} sigma lost in all")
    print(f"({time.perf_counter() - began:.0f} s)")


if __name__ == "__main__":
    main()
