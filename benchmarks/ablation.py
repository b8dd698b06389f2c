"""What ablations near the end of a night cost and gain, in simulated nights of the agent `search`. No training, only numbers.

Each night is simulated once until about as many trainings are left as its ablations need. From there it goes on twice: with
the agent alone, and with the ablations first. The worlds are those of worlds.py.

python benchmarks/ablation.py [--worlds 12] [--trainings 100] [--kinds plain rough large]
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from simulated import SIGMA, Night
from worlds import KINDS, Kind, World

from core.agents.base import AgentFailed
from core.agents.search.agent import Search
from core.change import edits, parts, removal
from core.judging import policy

EACH = 1.2  # trainings that an ablation takes on average; most end after one


@dataclass(frozen=True)
class Change:
    """A change on the branch: train.py before and after it, and its ideas of the book."""

    old: str
    new: str
    ideas: frozenset[str]


@dataclass
class Keeps:
    """The changes that a night has kept and that can be taken out."""

    changes: list[Change] = field(default_factory=list)
    whole: bool = False  # whether the last of them is the whole last keep, which was just compared

    def propose(self, night: Night, agent: Search) -> None:
        """Try out the agent's next proposal, and note what it kept."""
        before = night.incumbent
        proposal = agent.propose_now(night.context())
        night.try_out(proposal)
        if night.incumbent == before:
            return
        old, steps = (
            night.sources[before],
            parts.steps(night.sources[before], night.sources[night.incumbent], proposal.notes.parts or ()),
        )
        for step in steps:
            named = set(step.name.split(", ")) if len(steps) > 1 else set(proposal.notes.edits or ())
            self.changes.append(Change(old, step.source, frozenset(named & set(proposal.notes.edits or ()))))
            old = step.source
        self.whole = len(steps) == 1

    @property
    def outstanding(self) -> list[Change]:
        return self.changes[:-1] if self.whole else list(self.changes)


def merge(base: str, ours: str, theirs: str) -> str | None:
    """Return a three-way merge by git, or None for a conflict."""
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for name, text in (("ours", ours), ("base", base), ("theirs", theirs)):
            (Path(folder) / name).write_text(text)
            names.append(str(Path(folder) / name))
        found = subprocess.run(["git", "merge-file", "-p", *names], capture_output=True, text=True, check=False)
    return found.stdout if found.returncode == 0 else None


def take_out(night: Night, change: Change) -> bool | None:
    """Measure and judge the best without a change. Returns whether it was dropped; None if it cannot be taken out."""
    parent = night.incumbent
    try:
        source = removal.without(night.sources[parent], change.old, change.new, merge)
        edits.validate_change(night.sources[parent], source)
    except edits.EditError:
        return None
    version = night._known(source, night.ideas[parent] - change.ideas)
    scores = night.scores.pop(version, {})  # a commit of its own, which is trained anew
    try:
        while True:
            decision = policy.decide(
                night.scores.get(version, {}),
                night.scores[parent],
                SIGMA,
                run_seed=night.seed,
                nodes=2000,
                ablation=True,
            )
            if decision.action != "measure":
                break
            assert decision.seed is not None
            if not night._measure(version if decision.who == "candidate" else parent, decision.seed):
                return False
    finally:
        night.scores[version] = scores | night.scores.get(version, {})
    if decision.action in ("keep", "simplify"):
        night.incumbent = version
    return decision.action in ("keep", "simplify")


def outcomes(kind: Kind, source: str, seed: int, trainings: int) -> Iterator[float]:
    """Yield the true gains with and without ablations, that before and after them, how many were wanted, and how many dropped."""
    night, keeps, agent = Night(World(kind, source, seed), source, seed, trainings + 1), Keeps(), Search()
    with contextlib.suppress(StopIteration, AgentFailed):
        while night.left > max(1, EACH * len(keeps.outstanding)) or _finding(night, len(keeps.outstanding)):
            keeps.propose(night, agent)
    alone = copy.deepcopy(night)
    with contextlib.suppress(StopIteration, AgentFailed):
        more = copy.deepcopy(keeps)
        while True:
            more.propose(alone, agent)
    before, dropped, after, count = night.truth(night.incumbent), 0, None, len(keeps.outstanding)
    with contextlib.suppress(StopIteration, AgentFailed):
        for change in keeps.outstanding:
            dropped += bool(take_out(night, change))
        after = night.truth(night.incumbent)
        while True:
            keeps.propose(night, agent)
    after = night.truth(night.incumbent) if after is None else after
    for true in (night.truth(night.incumbent), alone.truth(alone.incumbent), before, after):
        assert true is not None
        yield true
    yield count
    yield dropped


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=12)
    parser.add_argument("--trainings", type=int, default=100)
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=["plain", "rough", "large"])
    options = parser.parse_args()
    source = (ROOT / "nanochat" / "train.py").read_text(encoding="utf-8")
    print("true gain of the best over the start, in standard deviations of one score, with their standard errors")
    print(
        f"{'world':<8}{'agent alone':>12}{'with ablations':>16}{'difference':>16}{'by the ablations':>18}{'wanted':>8}{'dropped':>9}"
    )
    for kind in options.kinds:
        rows = [tuple(outcomes(KINDS[kind], source, seed, options.trainings)) for seed in range(1, options.worlds + 1)]
        both, alone, before, after, made, dropped = (list(column) for column in zip(*rows, strict=True))
        less = [one - other for one, other in zip(both, alone, strict=True)]
        by = [one - other for one, other in zip(after, before, strict=True)]
        print(
            f"{kind:<8}{statistics.mean(alone):>12.2f}{statistics.mean(both):>16.2f}{_error(less):>16}{_error(by):>18}"
            f"{statistics.mean(made):>8.1f}{statistics.mean(dropped):>9.2f}",
            flush=True,
        )


def _finding(night: Night, count: int) -> bool:
    """Return whether one of this number of latest verdicts is a keep, so that the agent goes on."""
    return any(past.verdict.kept for past in night.past[-count:]) if count else False


def _error(values: list[float]) -> str:
    spread = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{statistics.mean(values):+.2f} ± {spread:.2f}"


if __name__ == "__main__":
    main()
