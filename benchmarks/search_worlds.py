"""Many simulated nights of the agent `search`, on the shipped train.py and drawn worlds. No training, only numbers.

A world gives each knob of train.py a best value, each edit of the book an effect, and some pairs of them an interaction. The agent
is the real one, and so is the keep rule; a training costs a microsecond. The arms:

    search   the agent as it is
    tpe      joint multivariate TPE (Optuna) over the knobs that matter
    random   the same knobs, drawn at random

python benchmarks/search_worlds.py [--worlds 12] [--trainings 150] [--arms search tpe random] [--kinds plain scarce rough steep flat large]
"""

from __future__ import annotations

import argparse
import contextlib
import math
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import optuna
from arms import distribution, important, setting, tpe_study
from msgspec.structs import replace

from core.agents.base import AgentFailed, Context, PastExperiment
from core.agents.search.agent import Search
from core.agents.search.ranges import range_for
from core.change import edits, knobs
from core.judging import policy
from core.model import Proposal, Value
from core.target import TARGET
from core.verdicts import Verdict

SIGMA = 0.004  # noise of one score in bpb; worlds are in its units
START = 1.5
SHOWN = (50, 75, 100, 150)  # trainings after which the gain is shown
SEEDS = 8
REMEASURE_EVERY = 8
BAD_EDIT = 8.0  # what an edit costs that does not go together with this model


@dataclass(frozen=True)
class Kind:
    """How worlds of one kind are drawn. Effects are in standard deviations of one score."""

    good: float = 0.25  # share of edits that help
    gain: float = 1.2  # of those, on average
    loss: float = 1.8  # of those that hurt, on average
    wrong: float = 0.7  # spread of the best values, in steps from those of now
    curve: float = 0.5  # what the first step away from the best value costs, for an impact of 1
    interaction: float = 0.25
    cliffs: float = 0.0  # share of knobs with a value beyond which training diverges


KINDS = {
    "plain": Kind(),
    "scarce": Kind(good=0.12, wrong=0.4),
    "rough": Kind(good=0.15, loss=3.6, interaction=0.4, cliffs=0.4),
    "steep": Kind(wrong=0.4, curve=1.4, cliffs=0.3),
    "flat": Kind(good=0.2, curve=0.15),
    "large": Kind(good=0.15, gain=3.0, loss=6.0, curve=1.5, interaction=0.6, cliffs=0.2),
}


class World:
    """True scores of train.py files."""

    def __init__(self, kind: Kind, source: str, seed: int) -> None:
        dice = random.Random(f"world {seed}")
        self._start = {knob.name: knob.value for knob in knobs.read(source)}
        self._best, self._curve, self._cliff = dict[str, float](), dict[str, float](), dict[str, float]()
        for name in sorted(self._start):
            impact = TARGET.impacts.get(name, 0.7)
            self._best[name] = dice.gauss(0, kind.wrong)
            self._curve[name] = impact * kind.curve * dice.gammavariate(2, 0.5)
            has_cliff, where = dice.random() < kind.cliffs, dice.choice((-1, 1)) * dice.uniform(0.6, 1.6)
            self._cliff[name] = where if has_cliff else 0.0
        self._edits, self._bad = dict[str, float](), set[str]()
        for entry in TARGET.book:
            helps, size = dice.random() < kind.good, dice.gammavariate(1.5, kind.gain / 1.5)
            self._edits[entry.name] = size if helps else -dice.gammavariate(1.2, kind.loss / 1.2)
            if dice.random() < kind.cliffs / 4:
                self._bad.add(entry.name)
        names = [*sorted(self._start), *sorted(self._edits)]
        self._pairs = [(*dice.sample(names, 2), dice.gauss(0, kind.interaction)) for _ in names]
        zero = self._effects(source, frozenset())
        assert zero is not None
        self._zero = zero

    def gain(self, source: str, ideas: frozenset[str] = frozenset()) -> float | None:
        """How much better than the start a train.py with these ideas is, in standard deviations of one score.

        None if its training diverges, since a knob is beyond its cliff.
        """
        total = self._effects(source, ideas)
        return total - self._zero if total is not None else None

    def _effects(self, source: str, present: frozenset[str]) -> float | None:
        places = {
            knob.name: self._place(knob.name, knob.value) for knob in knobs.read(source) if knob.name in self._best
        }
        total = 0.0
        for name, place in places.items():
            best, cliff = self._best[name], self._cliff[name]
            total += self._curve[name] * (best**2 - (best - place) ** 2)
            if abs(place) > abs(cliff) > 0 and place * cliff > 0:
                return None
        total += sum(self._edits[name] - BAD_EDIT * (name in self._bad) for name in sorted(present))
        amount = {**places, **dict.fromkeys(present, 1.0)}
        return total + sum(size * amount.get(one, 0.0) * amount.get(other, 0.0) for one, other, size in self._pairs)

    def _place(self, name: str, value: Value) -> float:
        """Steps from the value that the night begins with."""
        start = self._start[name]
        if isinstance(start, str | bool) or isinstance(value, str | bool):
            return float(value != start)
        if start > 0 and value > 0:
            return math.log(value / start) / math.log(2.0 if isinstance(start, int) else 1.7)
        return (value - start) / (1.0 if isinstance(start, int) else 0.15)


@dataclass
class Night:
    """One night under the keep rule, until its trainings are used up."""

    world: World
    source: str
    seed: int
    left: int
    scores: dict[str, dict[int, float]] = field(default_factory=dict)  # by fingerprint
    sources: dict[str, str] = field(default_factory=dict)
    ideas: dict[str, frozenset[str]] = field(default_factory=dict)  # of the book, in each version
    past: list[PastExperiment] = field(default_factory=list)
    curve: list[float] = field(default_factory=list)  # the incumbent's true gain after each training
    kept: int = 0
    false: int = 0
    _since: int = 0

    def __post_init__(self) -> None:
        self._dice = random.Random(f"night {self.seed}")
        self.order = [policy.seed(self.seed, index) for index in range(SEEDS)]
        self.incumbent = self._known(self.source, frozenset())
        self._measure(self.incumbent, self.order[0])
        self.curve.clear()

    def _known(self, source: str, ideas: frozenset[str]) -> str:
        found = edits.fingerprint(source)
        self.sources.setdefault(found, source)
        self.ideas.setdefault(found, ideas)
        return found

    def truth(self, version: str) -> float | None:
        """The true gain of a version over the start, in standard deviations; None if it diverges."""
        return self.world.gain(self.sources[version], self.ideas[version])

    def _measure(self, version: str, seed: int) -> bool:
        """One training. Returns whether it has a score. Raises StopIteration when there are none left."""
        if not self.left:
            raise StopIteration
        self.left -= 1
        best, true = self.truth(self.incumbent), self.truth(version)
        assert best is not None
        self.curve.append(best)
        if true is None:
            return False
        self.scores.setdefault(version, {})[seed] = START - SIGMA * (true + self._dice.gauss())
        if version == self.incumbent:
            self._since = 0
        return True

    def context(self) -> Context:
        """What the agent is told."""
        source = self.sources[self.incumbent]
        return Context(
            charter="# Aim\n\nLow val_bpb.\n", source=source, parent=self.incumbent, number=len(self.past) + 1, seed=self.seed,
            sigma=SIGMA, past=tuple(self.past), tried={one.fingerprint: one.number for one in self.past if one.parent == self.incumbent},
            proposed={Search.name: len(self.past)},
        )  # fmt: skip

    def try_out(self, proposal: Proposal) -> float | None:
        """Measure and judge a proposal: its paired gain in bpb. None for one that was tried before."""
        assert proposal.source is not None
        parent = self.incumbent
        version = self._known(proposal.source, self.ideas[parent] | set(proposal.notes.edits or ()))
        if version == parent or version in {one.fingerprint for one in self.past if one.parent == parent}:
            return None
        while True:
            decision = policy.decide(
                self.scores.get(version, {}), self.scores[parent], SIGMA, run_seed=self.seed, nodes=2000
            )
            if decision.action != "measure":
                break
            assert decision.seed is not None
            if not self._measure(version if decision.who == "candidate" else parent, decision.seed):
                self._record(proposal, version, parent, None, Verdict.CRASH)
                return None
        kept = decision.action == "keep"
        self._record(proposal, version, parent, decision, Verdict.KEEP if kept else Verdict.DISCARD)
        self._since += 1
        if kept:
            self.kept += 1
            before, after = self.truth(parent), self.truth(version)
            self.false += before is not None and after is not None and after <= before
            self.incumbent, self._since = version, 0
        free = [seed for seed in self.order if seed not in self.scores[self.incumbent]]
        if self._since >= REMEASURE_EVERY and free:
            self._since = 0
            self._measure(self.incumbent, free[0])
        return decision.gain

    def _record(
        self, proposal: Proposal, version: str, parent: str, decision: policy.Decision | None, verdict: Verdict
    ) -> None:
        past = PastExperiment(
            number=len(self.past) + 1, parent=parent, fingerprint=version, proposal=replace(proposal, source=None),
            verdict=verdict, gain=decision.gain if decision else None, seeds=tuple(self.scores[version])[: decision.pairs] if decision else (),
            crash="" if decision else "non-finite",
            constants=knobs.moved(self.sources[parent], self.sources[version]),
            structural=bool(proposal.notes.edits),
        )  # fmt: skip
        self.past.append(past)


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


ARMS: dict[str, Callable[[Night], None]] = {"search": search, "tpe": tpe, "random": at_random}


def run(arm: str, kind: Kind, source: str, seed: int, trainings: int) -> Night:
    """One night of one arm."""
    night = Night(World(kind, source, seed), source, seed, trainings + 1)
    with contextlib.suppress(StopIteration, AgentFailed):
        ARMS[arm](night)
    return night


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=12)
    parser.add_argument("--trainings", type=int, default=SHOWN[-1])
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=["search", "random"])
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=list(KINDS))
    options = parser.parse_args()
    source = (ROOT / "nanochat" / "train.py").read_text(encoding="utf-8")
    shown = [count for count in SHOWN if count <= options.trainings]
    print(
        "true gain of the best after so many trainings, in standard deviations of one score; kept, of them by mistake; s a night"
    )
    print(f"{'world':<8}{'arm':<10}" + "".join(f"{count:>8}" for count in shown) + "    kept  false      s")
    means: dict[str, list[list[float]]] = {}
    for kind in options.kinds:
        for arm in options.arms:
            began = time.perf_counter()
            nights = [run(arm, KINDS[kind], source, seed, options.trainings) for seed in range(1, options.worlds + 1)]
            each = (time.perf_counter() - began) / len(nights)
            gains = [
                sum(night.curve[min(count, len(night.curve)) - 1] for night in nights) / len(nights) for count in shown
            ]
            means.setdefault(arm, []).append(gains)
            kept, false = (
                sum(counts) / len(nights) for counts in zip(*((n.kept, n.false) for n in nights), strict=True)
            )
            row = "".join(f"{gain:>8.2f}" for gain in gains)
            print(f"{kind:<8}{arm:<10}{row}{kept:>8.1f}{false:>7.2f}{each:>7.1f}", flush=True)
    for arm, rows in means.items():
        print(
            f"{'mean':<8}{arm:<10}"
            + "".join(f"{sum(column) / len(column):>8.2f}" for column in zip(*rows, strict=True))
        )


if __name__ == "__main__":
    main()
