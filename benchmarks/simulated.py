"""One simulated night: the real keep rule on the scores of a drawn world, with the agent `search`. A training costs a microsecond."""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from msgspec.structs import replace
from worlds import World

from core.agents.base import Context, PastExperiment
from core.agents.search.agent import Search
from core.change import edits, knobs
from core.judging import policy
from core.judging.schedule import REMEASURE_EVERY
from core.model import Proposal
from core.verdicts import Verdict

SIGMA = 0.004  # noise of one score in bpb; worlds are in its units
START = 1.5
SEEDS = 8


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
    keeps: list[int] = field(default_factory=list)  # after how many trainings a change was kept
    mistakes: list[int] = field(default_factory=list)  # those of them that are no better in truth
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

    def context(self, parent: str | None = None) -> Context:
        """What the agent is told. `parent`: the version to change, if it is not the incumbent."""
        parent = parent or self.incumbent
        return Context(
            charter="# Aim\n\nLow val_bpb.\n", source=self.sources[parent], parent=parent, number=len(self.past) + 1, seed=self.seed,
            sigma=SIGMA, past=tuple(self.past), tried={one.fingerprint: one.number for one in self.past if one.parent == parent},
            proposed={Search.name: len(self.past)},
        )  # fmt: skip

    def try_out(self, proposal: Proposal, parent: str | None = None) -> float | None:
        """Measure and judge a proposal.

        Args:
            proposal: A change of the parent, with its whole source.
            parent: What it changes and is compared with, if that is not the incumbent. Such a change never becomes the incumbent.

        Returns:
            Its paired gain in bpb. None for one that was tried before, or diverges.
        """
        assert proposal.source is not None
        parent = parent or self.incumbent
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
        if parent == self.incumbent:
            self._judged(version, kept=kept)
        return decision.gain

    def _judged(self, version: str, *, kept: bool) -> None:
        """Follow a verdict on a change of the incumbent. After some that were not kept, the incumbent is measured again."""
        self._since += 1
        if kept:
            before, after = self.truth(self.incumbent), self.truth(version)
            self.keeps.append(len(self.curve))
            if before is not None and after is not None and after <= before:
                self.mistakes.append(len(self.curve))
            self.incumbent, self._since = version, 0
        free = [seed for seed in self.order if seed not in self.scores[self.incumbent]]
        if self._since >= REMEASURE_EVERY and free:
            self._since = 0
            self._measure(self.incumbent, free[0])

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
