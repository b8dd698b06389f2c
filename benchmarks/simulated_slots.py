"""One simulated night with several trainings at once: the real schedule, keep rule and record on the scores of a drawn world.

As in the loop, one proposal waits while all slots are busy, so it was made before the results of the running trainings are known. A
change whose parent is no longer the best is merged into the new best and measured again. A training takes about one unit of time.
"""

from __future__ import annotations

import heapq
import random
import subprocess
import sys
import tempfile
from collections import Counter
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from msgspec.structs import asdict, replace
from simulated import SIGMA, START
from worlds import World

from core.agents.base import AgentFailed, Context, OpenExperiment, PastExperiment, SeenExperiment
from core.agents.search.agent import Search
from core.change import edits, knobs
from core.change.merging import aligned
from core.judging import schedule
from core.judging.gain import of_open
from core.judging.schedule import Rebase, Work
from core.model import Proposal, RunConfig
from core.record import events as ev
from core.record.experiment import Experiment
from core.record.fold import apply
from core.record.state import State
from core.verdicts import Verdict
from nanochat.contract.job import CrashClass, Outcome, Result

NODES = 2000  # of every train.py: no change is kept for being shorter
SPREAD = 0.05  # standard deviation of the time of a training
COUNTED = ("experiments", "rebased", "conflicts")


class SlotsNight:
    """A night whose trainings take turns in some slots.

    Args:
        world: The true scores.
        source: The train.py that it begins with.
        seed: The seed of the run, and of its luck.
        trainings: How many there are after the baseline.
        slots: How many run at once.

    Attributes:
        curve: The true gain of the best after each training.
        verdicts: The true gain of the best after each verdict.
        keeps: After how many trainings a change was kept.
        mistakes: Those of them that are no better in truth.
        counts: How many experiments had a verdict, were merged into a new best, and could not be.
        time: When the last training ended.
    """

    def __init__(self, world: World, source: str, seed: int, trainings: int, slots: int) -> None:
        self.world, self.seed, self.slots = world, seed, slots
        self.state, self.time = State(name="night"), 0.0
        self.curve: list[float] = []
        self.verdicts: list[float] = []
        self.keeps: list[int] = []
        self.mistakes: list[int] = []
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
        self._agent, self._exhausted = Search(), False
        self._dice = random.Random(f"times {seed}")
        self._left = trainings + 1  # with the baseline
        self._running: list[tuple[float, str, Work]] = []  # end, job, what: a heap
        self._sources: dict[str, str] = {}  # by commit
        self._ideas: dict[str, frozenset[str]] = {}  # likewise: of the book
        self._pasts: dict[int, PastExperiment] = {}  # by number
        self._begin(source)

    def _begin(self, source: str) -> None:
        config = RunConfig(  # on a card all scores form pairs
            name="night", dataset="python", data="x", fingerprint="f", device="cuda", profile="cpu", budget_s=60, seq_len=256,
            vocab_size=2048, eval_tokens=94208, seed=self.seed, slots=self.slots, base_commit="0", noise_prior=SIGMA,
        )  # fmt: skip
        self._note("start", source, frozenset())
        self._record(ev.Created(v=ev.SCHEMA, config=config))
        self._record(ev.StartCommit(commit="start", source_hash="s", nodes=NODES))

    def _note(self, commit: str, source: str, ideas: frozenset[str]) -> None:
        self._sources[commit], self._ideas[commit] = source, ideas

    def _record(self, event: ev.AnyEvent) -> None:
        apply(self.state, replace(event, t=self.time))

    def truth(self, commit: str) -> float | None:
        """Return the true gain of a commit over the start, in standard deviations of one score; None if it diverges."""
        return self.world.gain(self._sources[commit], self._ideas[commit])

    @property
    def best(self) -> float:
        """The true gain of the best."""
        found = self.truth(self.state.incumbent)
        assert found is not None  # it has scores
        return found

    def run(self) -> None:
        """Go on until the trainings are used up, or the agent has nothing left."""
        while True:
            while self._proposed() or self._launched():
                pass
            if not self._running:
                return
            self._end_next()
            self._judge()
            if self.state.ended > 1:
                self.curve.append(self.best)

    # -- the agent --------------------------------------------------------------------------------------------------

    def _proposed(self) -> bool:
        """Ask the agent if none of its proposals waits. Returns whether there is a new one."""
        waits = any(not experiment.launched for experiment in self.state.open.values())
        if self._exhausted or waits or not self._left or self.state.baseline is None:
            return False
        state, parent = self.state, self.state.incumbent
        try:
            proposal = self._agent.propose_now(self._context())
        except AgentFailed:
            self._exhausted = True
            return False
        assert proposal.source is not None
        number = state.next_number
        commit = f"c{number}"
        self._note(commit, proposal.source, self._ideas[parent] | set(proposal.notes.edits or ()))
        self._record(
            ev.Proposed(
                number=number, commit=commit, parent=parent, fingerprint=edits.fingerprint(proposal.source), nodes=NODES,
                hypothesis=proposal.hypothesis, agent=Search.name, charter="", topic=proposal.topic, notes=proposal.notes,
            )
        )  # fmt: skip
        self._record(ev.Approved(number=number, by="auto"))
        return True

    def _context(self) -> Context:
        state, source = self.state, self._sources[self.state.incumbent]
        return Context(
            charter="# Aim\n\nLow val_bpb.\n", source=source, parent=edits.fingerprint(source), number=state.next_number,
            seed=self.seed, sigma=self._sigma, past=tuple(self._remembered(one) for one in state.experiments.values() if one.verdict),
            open=tuple(self._open(one) for one in state.open.values()), tried=self._tried(), proposed={Search.name: len(state.experiments)},
        )  # fmt: skip

    def _remembered(self, one: Experiment) -> PastExperiment:
        if one.number not in self._pasts:  # what has a verdict does not change
            self._pasts[one.number] = self._past(one)
        return self._pasts[one.number]

    def _past(self, one: Experiment) -> PastExperiment:
        assert one.verdict is not None
        seeds = tuple(self.state.scores.get(one.commit, {}))[: one.pairs]
        seen = replace(self._seen(one), gain=one.gain, error=one.error, seeds=seeds)
        return PastExperiment(**asdict(seen), verdict=one.verdict, crash=one.crash or "", val_bpb=one.val_bpb)

    def _open(self, one: Experiment) -> OpenExperiment:
        found, seen = of_open(self.state, one, self._sigma), self._seen(one)
        if found is not None:
            parent = edits.fingerprint(self._sources[found.parent])
            seen = replace(seen, parent=parent, gain=found.gain, error=found.error, seeds=found.seeds)
        return OpenExperiment(**asdict(seen))

    def _seen(self, one: Experiment) -> SeenExperiment:
        return SeenExperiment(
            number=one.number, parent=edits.fingerprint(self._sources[one.parent]), fingerprint=one.fingerprint,
            proposal=Proposal(hypothesis=one.hypothesis, agent=one.agent, topic=one.topic, notes=one.notes),
            constants=knobs.moved(self._sources[one.parent], self._sources[one.commit]), structural=bool(one.notes.edits),
        )  # fmt: skip

    def _tried(self) -> dict[str, int]:
        here = edits.fingerprint(self._sources[self.state.incumbent])
        alike = {one.parent for one in self.state.experiments.values()}
        return schedule.tried_changes(
            self.state, {one for one in alike if edits.fingerprint(self._sources[one]) == here}
        )

    # -- trainings --------------------------------------------------------------------------------------------------

    @property
    def _sigma(self) -> float:
        return schedule.noise(self.state).sigma

    def _launched(self) -> bool:
        """Start what is wanted in the free slots. Returns whether that is something."""
        free = min(self.slots - len(self._running), self._left)
        if free <= 0:
            return False
        works = list(islice(schedule.next_work(self.state, self._sigma), free))
        for work in works:
            job, slot = f"j{self.state.jobs + 1}", len(self._running)
            self._record(
                ev.Launched(job=job, role=work.role, commit=work.commit, seed=work.seed, slot=slot, number=work.number)
            )
            heapq.heappush(self._running, (self.time + max(0.5, self._dice.gauss(1, SPREAD)), job, work))
            self._left -= 1
        return bool(works)

    def _end_next(self) -> None:
        """End the training that is ready first, and record its score."""
        self.time, job, work = heapq.heappop(self._running)
        result = Result(job=job, outcome=Outcome.CRASH, crash=CrashClass.NON_FINITE, reason="it diverged")
        if (true := self.truth(work.commit)) is not None:
            # The same code on the same seed has the same luck, with any number of slots.
            luck = random.Random(f"{self.seed} {work.seed} {edits.fingerprint(self._sources[work.commit])}").gauss()
            result = Result(job=job, outcome=Outcome.SCORED, val_bpb=START - SIGMA * (true + luck), steps=1)
        self._record(ev.Measured(role=work.role, commit=work.commit, seed=work.seed, number=work.number, result=result))

    # -- verdicts ---------------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """Judge or merge every experiment that is ready for it, as the loop does."""
        if self.state.baseline is None:
            return
        running = {work.number for _, _, work in self._running}
        for experiment in list(self.state.open.values()):
            if experiment.number in running:
                continue
            step = schedule.assess(self.state, experiment, self._sigma)
            if isinstance(step, ev.Judged):
                self._verdict(experiment, step)
            elif isinstance(step, Rebase):
                self._rebase(experiment)

    def _verdict(self, experiment: Experiment, judged: ev.Judged) -> None:
        before = self.best
        self.counts["experiments"] += 1
        kept = Verdict(judged.verdict).kept
        self._record(replace(judged, commit=experiment.commit) if kept else judged)
        self.verdicts.append(self.best)
        if kept:
            self.keeps.append(self.state.ended - 1)
            if self.best <= before:
                self.mistakes.append(self.keeps[-1])

    def _rebase(self, experiment: Experiment) -> None:
        """Merge a change into the new best. If that is not possible, it is a conflict."""
        best, number = self.state.incumbent, experiment.number
        new, theirs = self._sources[best], self._sources[experiment.commit]
        merged = merge(self._sources[experiment.parent], new, theirs)
        try:
            if merged is None:
                raise edits.EditError("the best changed the same lines")
            edits.validate_change(new, merged)
            if self._tried().get(edits.fingerprint(merged), number) != number:
                raise edits.EditError("it was tried there")
        except edits.EditError as error:
            self.counts["conflicts"] += 1
            self._verdict(experiment, ev.Judged(number=number, verdict=Verdict.CONFLICT, reason=str(error), finding=""))
            return
        self.counts["rebased"] += 1
        commit = f"c{number}.{len(experiment.attempts)}"
        ideas = self._ideas[experiment.commit] - self._ideas[experiment.parent]
        self._note(commit, merged, self._ideas[best] | ideas)
        self._record(
            ev.Rebased(number=number, commit=commit, parent=best, fingerprint=edits.fingerprint(merged), nodes=NODES)
        )


def merge(base: str, ours: str, theirs: str) -> str | None:
    """Return the three-way merge of three texts, as the loop makes it; None if both sides changed the same lines."""
    base, ours, theirs = aligned(base, ours, theirs)
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, text in (("ours", ours), ("base", base), ("theirs", theirs)):
            path = Path(folder) / name
            path.write_text(text, encoding="utf-8")
            paths.append(str(path))
        done = subprocess.run(["git", "merge-file", "-p", *paths], capture_output=True, text=True, encoding="utf-8")
    return done.stdout if done.returncode == 0 else None
