"""Simulated nights with panels (panel_design.py): `panels` alone, and `search+panels`, the agent `search` with panels.

`panels` tries each idea of the book and each step of a knob alone first, with one training. Ideas and knobs take turns; ideas come in
random order, and knobs as `search` opens them. What gains clearly is judged by the keep rule at once. What does not lose clearly
waits, and when enough of it waits, the best of it is trained in a panel. The changes whose effect is promising are then judged
together by the keep rule. If they are not kept, they wait for one more panel.

`search+panels` is the agent `search`. When it knows enough changes from scores that may help, these are trained in a panel. The joint
model gets each run as an experiment, and what it then finds promising is judged together by the keep rule.

The limits below are those of several that gained most in other worlds than those of the comparison.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from panel_design import MOST, Run, Single, effects, fitting_together, together, train, version_of
from simulated import SIGMA, Night

from core.agents.search.agent import Search
from core.agents.search.drafts import Knobs
from core.agents.search.ideas import IDEAS
from core.agents.search.joint import UNLISTED
from core.agents.search.options import Options
from core.agents.search.ranges import places
from core.change import knobs
from core.judging import policy
from core.target import TARGET
from core.verdicts import Verdict


@dataclass(frozen=True)
class Limits:
    """When what is done.

    Attributes:
        near: The gain alone from which a change waits for a panel, in standard deviations of one score.
        clear: The gain alone from which a change is judged at once, likewise.
        waiting: How many changes must wait for a panel.
        promising: The effect in a panel from which a change is promising, in standard errors.
        most: Panels that one change takes part in.
    """

    near: float = -0.35
    clear: float = 3.0
    waiting: int = MOST
    promising: float = 0.5
    most: int = 2


ALONE = Limits()
BESIDE = Limits(near=0.0, waiting=6)  # in `search+panels`, where `near` is the gain that the model expects


@dataclass
class Panels:
    """A night of the arm `panels`.

    Args:
        night: The night.
        limits: When what is done.
    """

    night: Night
    limits: Limits = ALONE
    _queue: list[tuple[str, bool | None]] = field(default_factory=list)  # ideas (None), and knobs with their direction
    _waiting: dict[Single, float] = field(default_factory=dict)  # with the latest estimate of the effect
    _panels: Counter[Single] = field(default_factory=Counter)

    def run(self) -> None:
        """Go on until nothing is left that was not tried. StopIteration: the trainings are used up."""
        used = -1
        while self.night.left != used:  # nothing was left in the last round
            used = self.night.left
            self._queue = order(self.night)
            while self._queue:
                self._try_alone(*self._queue.pop(0))
                if len(self._waiting) >= self.limits.waiting:
                    self._panel()
            self._panel()

    def _try_alone(self, name: str, up: bool | None) -> None:
        """Train the best with one change."""
        night, best = self.night, self.night.incumbent
        single = step(night.sources[best], name, up) if up is not None else Single(name)
        proposal = together(night.sources[best], [single]) if single is not None else None
        if single is None or proposal is None:
            return
        version, seed = version_of(night, proposal), policy.order(night.scores[best], night.seed)[0]
        if version in night.scores or not night._measure(version, seed):
            return
        if gain_over(night, best, version) >= self.limits.clear and self._judge([single]):
            return
        if (gain := gain_over(night, best, version)) >= self.limits.near:
            self._waiting[single] = gain

    def _panel(self) -> None:
        """Train the best of what waits in a panel, and judge what is promising together."""
        pool = sorted(self._waiting, key=lambda one: -self._waiting[one])
        taken = fitting_together(self.night.sources[self.night.incumbent], pool)
        if not taken:
            self._waiting.clear()  # nothing of it fits the best
            return
        found = effects(taken, train(self.night, taken))
        promising = []
        for single, (effect, error) in zip(taken, found, strict=True):
            self._panels[single] += 1
            self._waiting[single] = effect
            if effect > self.limits.promising * error:
                promising.append(single)
            if single not in promising or self._panels[single] == self.limits.most:
                del self._waiting[single]
        if promising:
            self._judge(promising)

    def _judge(self, singles: list[Single]) -> bool:
        """Compare the best with these changes with the best. Returns whether that was kept."""
        best = self.night.incumbent
        proposal = together(self.night.sources[best], singles)
        if proposal is None:
            return False
        self.night.try_out(proposal)
        if self.night.incumbent == best:
            return False
        names = {one.name for one in singles}
        self._waiting = {one: gain for one, gain in self._waiting.items() if one.name not in names}
        self._queue[:0] = [(one.name, one.up) for one in singles if one.value is not None]  # one more step
        return True


def gain_over(night: Night, best: str, version: str) -> float:
    """Return the mean gain of a version over the best on the seeds of both, in standard deviations of one score."""
    ours, theirs = night.scores[version], night.scores[best]
    return statistics.fmean(theirs[seed] - score for seed, score in ours.items() if seed in theirs) / SIGMA


def order(night: Night) -> list[tuple[str, bool | None]]:
    """Return what to try alone: ideas and steps of knobs in turn. Knobs come by their impact, first in the usual direction."""
    dice = random.Random(f"panels {night.seed}")
    ideas: list[tuple[str, bool | None]] = [(name, None) for name in dice.sample(sorted(IDEAS), len(IDEAS))]
    every = {knob.name: knob for knob in knobs.read(night.sources[night.incumbent])}
    active = sorted(every.keys() - TARGET.inactive_knobs({name: knob.value for name, knob in every.items()}))
    names = sorted(dice.sample(active, len(active)), key=lambda name: -TARGET.impacts.get(name, UNLISTED))
    steps: list[tuple[str, bool | None]] = []
    for great in (True, False):
        some = [name for name in names if (TARGET.impacts.get(name, UNLISTED) >= 1) is great]
        for second in (False, True):
            steps += [(name, (TARGET.topic_of(name) != "size") is not second) for name in some]
    both = min(len(ideas), len(steps))
    turns = [one for pair in zip(ideas[:both], steps[:both], strict=True) for one in pair]
    return [*turns, *ideas[both:], *steps[both:]]


def step(source: str, name: str, up: bool) -> Single | None:
    """Return one step of a knob, or None if there is none in this direction."""
    knob = next((knob for knob in knobs.read(source) if knob.name == name), None)
    found = places(knob, up) if knob is not None else []
    return Single(name, found[0], up) if found else None


def panels(night: Night) -> None:
    """The arm `panels`."""
    Panels(night).run()


# -- the agent `search` with panels ----------------------------------------------------------------------------------


def search_with_panels(night: Night) -> None:
    """The arm `search+panels`."""
    agent, done = Search(), set[str]()
    while True:
        taken = known_about(night, done)
        if len(taken) < BESIDE.waiting:
            night.try_out(agent.propose_now(night.context()))
            continue
        done |= {one.name for one in taken}
        for run in train(night, taken):
            note(night, run)
        promising = found_promising(options_of(night), taken)
        if promising and (proposal := together(night.sources[night.incumbent], promising)):
            night.try_out(proposal)


def options_of(night: Night) -> Options:
    """Return the changes of the best, with the model of `search`."""
    every = {knob.name: knob for knob in knobs.read(night.sources[night.incumbent])}
    return Options(night.context(), Knobs(every, every))


def known_about(night: Night, done: set[str]) -> list[Single]:
    """Return changes for a panel that have a score and may help by the model: of each knob the best value. `done`: names to leave."""
    options = options_of(night)
    expected = options.model.expected
    best = [max(group, key=lambda one: expected.gain(one.change)) for group in options.known_about()]
    some = [one for one in best if one.name not in done and expected.gain(one.change) >= BESIDE.near]
    if len(some) < BESIDE.waiting:
        return []
    some.sort(key=lambda one: -expected.gain(one.change))
    return fitting_together(night.sources[night.incumbent], [Single(one.name, one.value) for one in some])


def found_promising(options: Options, singles: Sequence[Single]) -> list[Single]:
    """Return those of the changes whose gain by the model is promising."""
    found = []
    for one in singles:
        idea = one.value is None
        change = options.change({} if one.value is None else {one.name: one.value}, [one.name] if idea else [])
        if options.model.expected.gain(change) > BESIDE.promising * options.model.spread(change):
            found.append(one)
    return found


def note(night: Night, run: Run) -> None:
    """Note a run of a panel as an experiment with one pair."""
    decision = policy.Decision("discard", "a run of a panel", gain=run.gain * SIGMA, pairs=1, seed=run.seed)
    night._record(run.proposal, run.version, night.incumbent, decision, Verdict.DISCARD)
