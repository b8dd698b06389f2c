"""What branches gain when a night finds nothing more: simulated nights of the agent `search`. No training, only numbers.

Each night is simulated to its end as it is: every proposal changes the best. Where it has had a losing streak, it goes on a second
time from the same point with as many trainings, but with branches. A branch is the search with another parent: a near miss, or
what was the best earlier. Its proposals are compared with that parent by the keep rule, and repeat nothing that was kept since it
left. If one wins, everything that the branch has and the best has not is put on the best, and compared with the best by the keep
rule. The worlds are those of worlds.py.

python benchmarks/plateau.py [--worlds 16] [--trainings 150] [--kinds recorded tangled rough plain] [--streaks 10 20] [--keep FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import figures
from msgspec.structs import replace
from simulated import SIGMA, Night
from simulated_record import Record, Row, row
from worlds import KINDS, World

from core.agents.base import AgentFailed, Context, PastExperiment
from core.agents.search.agent import Search
from core.agents.search.ideas import IDEAS, applied, knob_change
from core.agents.search.ranges import misfit
from core.change import edits, knobs
from core.model import Notes, Proposal
from core.verdicts import Verdict

BRANCHES = 3  # at most, at one plateau
NEAR_MISSES = 2  # of them, at most; the others are from earlier keeps
STRONG = 1.2  # standard errors that a near miss gained at least, over two pairs or more
LENGTH = 6  # proposals in a row that a branch may lose
ASKED = 8  # times that the agent is asked for a proposal that repeats nothing
GREEDY = "search"


class Proposer(Protocol):
    """An agent that answers at once."""

    def propose_now(self, context: Context) -> Proposal: ...


@dataclass
class Branching:
    """The rest of a night with branches. `streak`: proposals in a row that lost, after which branches are opened."""

    night: Night
    streak: int
    agent: Proposer = field(default_factory=Search)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("plateaus", "branches", "wins", "merges"), 0))
    _since: int = 0  # experiments before the end of the last branches
    _used: set[str] = field(default_factory=set)  # versions that a branch began with

    def run(self) -> None:
        """Go on until the trainings are used up."""
        with contextlib.suppress(StopIteration, AgentFailed):
            while True:
                if lost(self.night, self._since) >= self.streak:
                    self._plateau()
                else:
                    self.night.try_out(self.agent.propose_now(self.night.context()))

    def _plateau(self) -> None:
        """Open branches one after the other, until one was merged."""
        self.counts["plateaus"] += 1
        for fork, source in sources(self.night, self._used)[:BRANCHES]:
            self._used.add(source)
            self.counts["branches"] += 1
            with contextlib.suppress(AgentFailed):  # the branch has nothing new; StopIteration ends the night
                if self._branch(fork, source):
                    break
        self._since = len(self.night.past)

    def _branch(self, fork: str, tip: str) -> bool:
        """Search from another version. Returns whether a win was merged.

        Args:
            fork: The version on the line of the best that the branch leaves.
            tip: The version that the branch begins with: the fork, or a near miss that was tried on it.
        """
        night, losses = self.night, 0
        while losses < LENGTH:
            night.try_out(self._propose(fork, tip), tip)
            losses += 1
            if not night.past[-1].verdict.kept:
                continue
            self.counts["wins"] += 1
            tip, losses = night.past[-1].fingerprint, 0
            if self._merge(fork, tip):
                self.counts["merges"] += 1
                return True
        return False

    def _propose(self, fork: str, tip: str) -> Proposal:
        """Return a proposal for a branch that repeats nothing that was kept since the branch left. Raises AgentFailed."""
        night, context = self.night, self.night.context(tip)
        kept = changes(night.sources[fork], night.sources[night.incumbent])
        kept |= night.ideas[night.incumbent] - night.ideas[fork]
        for _ in range(ASKED):
            proposal = self.agent.propose_now(context)
            assert proposal.source is not None
            if not kept & (changes(context.source, proposal.source) | set(proposal.notes.edits or ())):
                return proposal
            context = replace(context, tried=context.tried | {edits.fingerprint(proposal.source): context.number})
        raise AgentFailed("The agent proposes only what the best has already.")

    def _merge(self, fork: str, tip: str) -> bool:
        """Compare the best with the changes of a branch with the best. Returns whether that was kept."""
        night, best = self.night, self.night.incumbent
        proposal = merged(night, fork, tip)
        if proposal is None or proposal.source is None:
            return False
        version = edits.fingerprint(proposal.source)
        scores = night.scores.pop(version, {}) if version != best else {}  # a commit of its own, which is trained anew
        try:
            night.try_out(proposal)
        finally:
            if scores:
                night.scores[version] = scores | night.scores.get(version, {})
        return night.incumbent != best


def changes(old: str, new: str) -> set[str]:
    """Return the constants that differ, with the direction."""
    return {knob_change(name, *values) for name, values in knobs.moved(old, new).items()}


def lost(night: Night, since: int = 0) -> int:
    """Return how many of the latest proposals were not kept, without the first `since` experiments."""
    count = 0
    for past in reversed(night.past[since:]):
        if past.verdict.kept:
            break
        count += 1
    return count


def line_of(night: Night) -> list[str]:
    """Return the best and the versions that were the best before it, the latest first."""
    parents = {past.fingerprint: past.parent for past in night.past if past.verdict.kept}
    line = [night.incumbent]
    while (parent := parents.get(line[-1])) is not None:
        line.append(parent)
    return line


def sources(night: Night, used: set[str]) -> list[tuple[str, str]]:
    """Return what branches can begin with, the most promising first, each with the version of the best's line that it leaves.

    These are the near misses with the highest expected level, then earlier bests, the latest first.
    """
    line = line_of(night)
    steps = {past.fingerprint: past.gain or 0.0 for past in night.past if past.verdict.kept}
    level = {version: sum(steps.get(one, 0.0) for one in line[place:]) for place, version in enumerate(line)}
    near = [past for past in night.past if _near_miss(past) and past.parent in level and past.fingerprint not in used]
    near.sort(key=lambda past: -(level[past.parent] + (past.gain or 0.0) - _error(past)))
    earlier = [(version, version) for version in line[1:] if version not in used]
    few = [(past.parent, past.fingerprint) for past in near if past.fingerprint not in level][:NEAR_MISSES]
    return [*few, *earlier]


def _near_miss(past: PastExperiment) -> bool:
    """Return whether a change was promising over several pairs, and not confirmed."""
    several = past.verdict is Verdict.DISCARD and past.gain is not None and len(past.seeds) > 1
    return several and (past.gain or 0.0) >= STRONG * _error(past)


def _error(past: PastExperiment) -> float:
    return float(SIGMA * (2 / len(past.seeds)) ** 0.5)


def merged(night: Night, fork: str, tip: str) -> Proposal | None:
    """Return the best with what leads from one version to another: its ideas, then its constants. None if they do not fit."""
    best = night.incumbent
    source: str | None = night.sources[best]
    ideas = sorted(night.ideas[tip] - night.ideas[fork] - night.ideas[best])
    for name in ideas:
        source = applied(IDEAS[name], source) if source is not None else None
    if source is None:
        return None
    known = {knob.name: knob for knob in knobs.read(source)}
    moved = {name: after for name, (_, after) in knobs.moved(night.sources[fork], night.sources[tip]).items()}
    if not moved.keys() <= known.keys() or misfit({name: knob.value for name, knob in known.items()} | moved, known):
        return None
    notes = Notes(edits=tuple(ideas), knobs=moved, before={name: known[name].value for name in moved})
    return Proposal(hypothesis="The changes of a branch.", source=knobs.set_knobs(source, moved), notes=notes)


def simulate(kind: str, source: str, seed: int, trainings: int, streaks: Sequence[int]) -> list[Row]:
    """Simulate one night as it is, and from its first streak of each length once more with branches.

    Returns:
        A row for each. A night without such a streak is the same with branches.
    """
    began, agent = time.perf_counter(), Search()
    night = Night(World(KINDS[kind], source, seed), source, seed, trainings + 1)
    copies: dict[int, Night] = {}
    with contextlib.suppress(StopIteration, AgentFailed):
        while True:
            for streak in streaks:
                if streak not in copies and lost(night) >= streak:
                    copies[streak] = copy.deepcopy(night)
            night.try_out(agent.propose_now(night.context()))
    rows = [row(night, kind, GREEDY, trainings, began)]
    for streak in streaks:
        began = time.perf_counter()
        rest = Branching(copies.get(streak, night), streak)
        left = rest.night.left if streak in copies else 0
        if streak in copies:
            rest.run()
        rows.append(row(rest.night, kind, arm(streak), trainings, began, rest.counts | {"left": left}))
    return rows


def arm(streak: int) -> str:
    return f"after {streak}"


def report(rows: Sequence[Row], kind: str, streaks: Sequence[int], trainings: int) -> list[str]:
    """Return the gains in worlds of one kind as lines: as it is, with branches, the difference, and what the branches did."""
    by = {(one.arm, one.seed): one for one in rows if one.kind == kind}
    seeds = sorted({seed for name, seed in by if name == GREEDY})
    lines = []
    for streak in streaks:
        pairs = [(by[GREEDY, seed], by[arm(streak), seed]) for seed in seeds]
        less = [branched.gain(trainings) - alone.gain(trainings) for alone, branched in pairs]
        alone, branched = (figures.mean([one.gain(trainings) for one in arms]) for arms in zip(*pairs, strict=True))
        left = [count for _, one in pairs if (count := one.counts["left"])]
        told = [statistics.fmean(one.counts[name] for _, one in pairs) for name in ("branches", "wins", "merges")]
        lines.append(
            f"{kind:<10}{streak:>7}{len(pairs):>8}{len(left):>9}{figures.number(figures.mean(left), 0):>7}{alone:>10.2f}{branched:>10.2f}"
            f"{f'{figures.mean(less):+.2f} ± {figures.mean_error(less):.2f}':>16}"
            + "".join(f"{one:>10.2f}" for one in told)
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=16)
    parser.add_argument("--first", type=int, default=1, help="the number of the first world")
    parser.add_argument("--trainings", type=int, default=150)
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=["recorded", "tangled", "rough", "plain"])
    parser.add_argument("--streaks", nargs="+", type=int, default=[10, 20])
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write each night to it, and go on where it ends")
    options = parser.parse_args()
    source, record = (ROOT / "nanochat" / "train.py").read_text(encoding="utf-8"), Record(options.keep)
    names = [GREEDY, *(arm(streak) for streak in options.streaks)]
    print(
        "true gain of the best over the start, in standard deviations of one score; the difference with its standard error;"
    )
    print("trainings left at the first streak, branches, wins in them and merges that were kept: means over the nights")
    print(
        f"{'world':<10}{'streak':>7}{'worlds':>8}{'had one':>9}{'left':>7}{'alone':>10}{'branches':>10}{'difference':>16}"
        f"{'opened':>10}{'won':>10}{'merged':>10}"
    )
    for kind in options.kinds:
        rows: list[Row] = []
        for seed in range(options.first, options.first + options.worlds):
            found = [record.find(kind, name, seed, options.trainings) for name in names]
            if None in found:
                record.add(new := simulate(kind, source, seed, options.trainings, options.streaks))
                found = [*new]
            rows += [one for one in found if one is not None]
        print("\n".join(report(rows, kind, options.streaks, options.trainings)), flush=True)


if __name__ == "__main__":
    main()
