"""What a journal means: a pure fold of events into the state of a run. Replaying the journal reproduces everything."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec.structs import replace

from core.model import ApprovalMode, Role, RunConfig
from core.record import events as ev
from core.verdicts import Verdict
from nanochat.contract.job import CrashClass, Outcome

RERUN_TRIES = 3  # of a measurement that the human wished for, on a disturbed machine
SKIPPED = "Skipped by the human."
AND_HUMAN = " + human"  # behind the name of an agent whose proposal a human revised


@dataclass(slots=True)
class Experiment:
    """One proposal and all that became of it: its events, and what follows from them."""

    proposed: ev.Proposed
    revised: ev.Revised | None = None  # the human changed it before it ran
    rebased: ev.Rebased | None = None
    approval: ev.Approved | None = None
    scored: ev.Measured | None = None  # the latest score of its present commit
    failure: ev.Measured | None = None  # the last job of it that did not end in a score
    judged: ev.Judged | None = None
    latest: ev.Proposed | ev.Revised | ev.Rebased = field(init=False)  # of these three: its present commit
    kept_as: str = ""  # the commit on the run's branch, once kept
    attempts: list[str] = field(default_factory=list)  # every commit that was measured or was to be
    launched: bool = False
    val_bpb: float | None = None  # mean over its seeds
    disturbances: int = 0
    measured: int = 0
    peak_memory: int = 0  # bytes, the most of all its jobs
    seconds: float = 0.0  # wall seconds over all its jobs

    def __post_init__(self) -> None:
        self.latest = self.proposed
        self.attempts = [self.proposed.commit]

    @property
    def number(self) -> int:
        return self.proposed.number

    @property
    def id(self) -> str:
        return experiment_id(self.number)

    # -- its change -----------------------------------------------------------------------------------------------

    @property
    def commit(self) -> str:
        """Its present commit; once kept, the one on the run's branch."""
        return self.kept_as or self.latest.commit

    @property
    def parent(self) -> str:
        return (self.rebased or self.proposed).parent

    @property
    def fingerprint(self) -> str:
        return self.latest.fingerprint

    @property
    def nodes(self) -> int:
        return self.latest.nodes

    @property
    def added(self) -> int:
        """Lines."""
        return (self.revised or self.proposed).added

    @property
    def removed(self) -> int:
        """Lines."""
        return (self.revised or self.proposed).removed

    # -- its proposal ---------------------------------------------------------------------------------------------

    @property
    def hypothesis(self) -> str:
        return (self.revised.hypothesis if self.revised else "") or self.proposed.hypothesis

    @property
    def agent(self) -> str:
        """Who proposed it. What a human revised is not the agent's alone."""
        agent = self.proposed.agent
        return agent if self.revised is None or agent.endswith(AND_HUMAN) else agent + AND_HUMAN

    @property
    def charter(self) -> str:
        return self.proposed.charter

    @property
    def topic(self) -> str:
        return self.proposed.topic

    @property
    def meta(self) -> dict[str, Any]:
        return self.proposed.meta

    @property
    def proposed_t(self) -> float:
        return self.proposed.t

    @property
    def proposing_s(self) -> float:
        return self.proposed.seconds

    @property
    def retry_of(self) -> int | None:
        """The number of the interrupted experiment that it repeats."""
        return self.proposed.retry_of

    @property
    def approved(self) -> str:
        """By whom it was approved: auto, time-out or human; empty while it waits."""
        return self.approval.by if self.approval else ""

    # -- its trainings --------------------------------------------------------------------------------------------

    @property
    def params(self) -> int | None:
        return self.scored.result.params if self.scored else None

    @property
    def steps(self) -> int:
        return self.scored.result.steps if self.scored else 0

    @property
    def tokens_per_s(self) -> float:
        """Training tokens per charged second."""
        result = self.scored.result if self.scored else None
        return result.tokens / result.charged_s if result and result.charged_s else 0.0

    @property
    def final_loss(self) -> float | None:
        return self.scored.result.final_loss if self.scored else None

    @property
    def traceback(self) -> str:
        return self.failure.result.traceback if self.failure else ""

    # -- its verdict ----------------------------------------------------------------------------------------------

    @property
    def verdict(self) -> Verdict | None:
        return self.judged.verdict if self.judged else None

    @property
    def crash(self) -> CrashClass | None:
        return self.judged.crash if self.judged else None

    @property
    def reason(self) -> str:
        return self.judged.reason if self.judged else ""

    @property
    def finding(self) -> str:
        return self.judged.finding if self.judged else ""

    @property
    def gain(self) -> float | None:
        return self.judged.gain if self.judged else None

    @property
    def error(self) -> float | None:
        return self.judged.error if self.judged else None

    @property
    def pairs(self) -> int:
        return self.judged.pairs if self.judged else 0

    @property
    def sigma(self) -> float:
        return self.judged.sigma if self.judged else 0.0

    @property
    def within_noise(self) -> bool:
        return self.judged.within_noise if self.judged else False

    @property
    def by(self) -> str:
        """human: an overruled verdict."""
        return self.judged.by if self.judged else ""

    @property
    def ended_t(self) -> float:
        return self.judged.t if self.judged else 0.0


def experiment_id(number: int) -> str:
    """The name of an experiment's folder and ref: sorts as it counts."""
    return f"{number:05d}"


@dataclass(slots=True)
class Said:
    """What the human told the agents: a hint, or the reason for skipping an experiment. Numbered from 1, in order."""

    number: int
    text: str
    skipped: int | None = None  # the experiment that it was the reason for skipping of
    t: float = 0.0
    taken_back: bool = False


@dataclass(frozen=True, slots=True)
class Conditions:
    """When a score was measured (seconds since the epoch), how long that took, and how fast the machine was."""

    t: float
    wall_s: float
    speed: float | None  # of the reference; None where it was not measured
    turn: int = 0  # how many jobs of the run had ended by then: clocks can be set back


@dataclass(slots=True)
class State:
    """A run as its journal tells it. Only `apply` changes it."""

    name: str = ""  # of the run's folder, which commands take; where no folder is known, as the header says
    config: RunConfig | None = None
    id: str = ""  # of the run; of a journal without one, a hash of its header
    known: set[str] = field(default_factory=set)  # every commit that the run made
    experiments: dict[int, Experiment] = field(default_factory=dict)
    scores: dict[str, dict[int, float]] = field(default_factory=dict)  # commit -> seed -> val_bpb
    conditions: dict[str, dict[int, Conditions]] = field(default_factory=dict)  # the same, how the machine was
    reference_s: float | None = None  # of the gauge: seconds of a reading when the run's reference was taken
    unmeasured: str = ""  # why the machine's speed was not measured in the last job
    other_gpu_bytes: int = 0  # bytes of the GPU that other processes held in the last job
    facts: dict[str, ev.Measured] = field(default_factory=dict)  # commit -> its first undisturbed job
    start_commit: ev.StartCommit | None = None  # the commit that the run starts from
    start_commits: list[str] = field(default_factory=list)  # every one that it had
    baseline: ev.Measured | None = None
    baseline_failure: ev.Measured | None = None
    disturbances: dict[str, int] = field(default_factory=dict)  # commit -> disturbed jobs of it as baseline or best
    failures: dict[str, int] = field(default_factory=dict)  # commit -> failed jobs of it as baseline or best
    kept: list[int] = field(default_factory=list)
    open: dict[int, Experiment] = field(default_factory=dict)  # proposed, without a verdict
    running: dict[str, ev.Launched] = field(default_factory=dict)
    processes: dict[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    reruns: dict[int, int] = field(default_factory=dict)  # wanted by the human -> disturbed tries so far
    aborted: set[int] = field(default_factory=set)  # by the human, and not yet ended
    said: list[Said] = field(default_factory=list)
    charter: ev.Charter | None = None
    restatings: list[dict[str, Any]] = field(default_factory=list)  # what each restatement of program.md cost
    approval: ApprovalMode = "auto"
    paused: bool = False
    pause_reason: str = ""
    started: ev.Started | None = None
    stopped: ev.Stopped | None = None
    reported: ev.Reported | None = None
    crash_streak: int = 0
    judged: int = 0  # verdicts that count: all but interrupted
    tried: int = 0  # of those, experiments that were tried: what every "kept of" counts
    judged_since_best: int = 0  # of those with a score, since the best was last measured
    refused: int = 0
    refusals: dict[str, int] = field(default_factory=dict)  # by agent
    unprotected: tuple[str, ...] = ()  # parts of the sandbox that the machine lacked in the last job
    jobs: int = 0  # launched
    ended: int = 0
    created_t: float = 0.0
    last_t: float = 0.0
    seconds_running: float = 0.0  # over all earlier starts

    @property
    def finished(self) -> bool:
        """Whether the run came to an end of its own: a limit, or nothing left to propose."""
        return self.stopped is not None and self.stopped.finished

    @property
    def busy(self) -> bool:
        """Whether an experiment is under way: between two of its seeds, and before its verdict, nothing runs for a moment."""
        return bool(self.running) or any(experiment.launched for experiment in self.open.values())

    @property
    def best(self) -> str:
        """The commit that the next proposal starts from."""
        if self.kept:
            return self.experiments[self.kept[-1]].commit
        return self.start_commit.commit if self.start_commit else ""

    @property
    def best_nodes(self) -> int:
        if self.kept:
            return self.experiments[self.kept[-1]].nodes
        return self.start_commit.nodes if self.start_commit else 0

    @property
    def next_number(self) -> int:
        return max(self.experiments, default=0) + 1

    @property
    def params(self) -> int | None:
        """Parameters of the best model, once it was trained."""
        fact = self.facts.get(self.best)
        return fact.result.params if fact is not None else None

    def mean(self, commit: str) -> float | None:
        """Mean val_bpb of a commit over its seeds, or None when it has no score."""
        scores = self.scores.get(commit)
        return sum(scores.values()) / len(scores) if scores else None

    @property
    def hints(self) -> list[str]:
        """The hints that count: those that were not taken back."""
        return [said.text for said in self.said if said.skipped is None and not said.taken_back]

    @property
    def commits(self) -> list[str]:
        """The starting commit and then exactly the kept ones: what the run's branch holds."""
        return ([self.start_commit.commit] if self.start_commit else []) + [
            self.experiments[n].commit for n in self.kept
        ]

    def apply(self, event: ev.AnyEvent) -> None:
        """Fold one event in. Unknown combinations are ignored rather than guessed at."""
        self.last_t = event.t
        match event:
            case ev.Measured():
                self._measured(event)
            case ev.Launched():
                self.running[event.job] = event
                self.jobs += 1
                if event.number is not None:
                    self.experiments[event.number].launched = True
            case ev.Processes():
                self.processes[event.job] = event.pids
            case ev.Proposed():
                self._proposed(event)
            case ev.Revised():
                self._revised(event)
            case ev.Rerun(wanted=True):
                self.reruns[event.number] = 0
            case ev.Rerun():
                self.reruns.pop(event.number, None)
                self.aborted.discard(event.number)
            case ev.Aborted():
                self.aborted.add(event.number)
            case ev.Approved():
                self.experiments[event.number].approval = event
            case ev.Judged():
                self._judged(event)
            case ev.Rebased():
                self._rebased(event)
            case ev.Created():
                self.config = event.config
                self.name = self.name or self.config.name
                self.approval = self.config.approval
                self.created_t = event.t
                self.id = event.id or hashlib.sha256(msgspec.json.encode(event)).hexdigest()[:32]
            case ev.Started():
                self.started, self.stopped = event, None
                self.approval = event.approval
                self.crash_streak = 0
                self.paused = False
            case ev.Stopped():
                already, self.stopped = self.stopped, event
                if self.started and not already:
                    self.seconds_running += event.t - self.started.t
            case ev.StartCommit():
                self.start_commit = event
                self.known.add(event.commit)
                self.start_commits.append(event.commit)
                self.baseline_failure = None
            case ev.Charter():
                self.charter = event
                if event.meta:
                    self.restatings.append(event.meta)
            case ev.Refused():
                self.refused += 1
                self.refusals[event.agent] = self.refusals.get(event.agent, 0) + 1
            case ev.Hint():
                self.said.append(Said(len(self.said) + 1, event.text, t=event.t))
            case ev.TakenBack():
                self._taken_back(event.number)
            case ev.Paused():
                self.paused, self.pause_reason = True, event.reason
            case ev.Resumed():
                self.paused, self.pause_reason = False, ""
            case ev.ApprovalChanged():
                self.approval = event.mode
            case ev.Reported():
                self.reported = event
            case ev.Torn() | ev.Notice():
                pass

    def _proposed(self, event: ev.Proposed) -> None:
        experiment = Experiment(event)
        if event.retry_of is not None:  # what was measured of it before still counts
            earlier = self.experiments[event.retry_of]
            experiment.val_bpb, experiment.measured = self.mean(event.commit), earlier.measured
            experiment.revised, experiment.scored = earlier.revised, earlier.scored
            experiment.peak_memory = earlier.peak_memory
        self.known.add(event.commit)
        self.experiments[event.number] = self.open[event.number] = experiment

    def _taken_back(self, number: int) -> None:
        """Forget what the human said, so that nobody who reads the record learns of it."""
        if not 1 <= number <= len(self.said):
            return
        said = self.said[number - 1]
        said.taken_back = True
        experiment = self.experiments.get(said.skipped) if said.skipped is not None else None
        if experiment is not None and experiment.verdict is Verdict.SKIPPED:
            assert experiment.judged is not None
            experiment.judged = replace(experiment.judged, finding=SKIPPED, reason="")

    def _revised(self, event: ev.Revised) -> None:
        experiment = self.experiments[event.number]
        experiment.revised = experiment.latest = event
        experiment.attempts.append(event.commit)
        self.known.add(event.commit)

    def _rebased(self, event: ev.Rebased) -> None:
        experiment = self.experiments[event.number]
        experiment.rebased = experiment.latest = event
        experiment.attempts.append(event.commit)
        self.known.add(event.commit)
        experiment.val_bpb, experiment.failure = None, None

    def _measured(self, event: ev.Measured) -> None:
        result = event.result
        self.ended += 1
        self.running.pop(event.job, None)
        self.processes.pop(event.job, None)
        experiment = self.experiments.get(event.number) if event.number is not None else None
        if experiment is not None:
            experiment.seconds += result.total_wall_s
        if result.speed is not None and self.reference_s is None:
            self.reference_s = result.speed.reference_s
        if result.outcome is Outcome.INTERRUPTED:
            return
        self.unprotected, self.unmeasured = result.unprotected, result.unmeasured
        self.other_gpu_bytes = result.other_gpu_bytes
        if event.role is Role.RERUN and event.number is not None:
            tries = self.reruns.pop(event.number, 0) + 1
            if event.disturbed and tries < RERUN_TRIES:
                self.reruns[event.number] = tries
            else:
                self.aborted.discard(event.number)  # it had come to its end
            if not event.scored:
                return  # the verdict stands as it was
        of_incumbent = experiment is None or event.role is Role.INCUMBENT
        if event.scored:
            self._scored(event, experiment)
        elif event.disturbed:
            if experiment is not None and not of_incumbent:
                experiment.disturbances += 1
            else:
                self.disturbances[event.commit] = self.disturbances.get(event.commit, 0) + 1
        elif experiment is not None and not of_incumbent:
            experiment.failure = event
            experiment.peak_memory = max(experiment.peak_memory, result.peak_memory)
        else:
            self.failures[event.commit] = self.failures.get(event.commit, 0) + 1
            if event.role is Role.BASELINE:
                self.baseline_failure = event

    def _scored(self, event: ev.Measured, experiment: Experiment | None) -> None:
        result = event.result
        assert result.val_bpb is not None
        if not event.disturbance_ignored:
            self.disturbances.pop(event.commit, None)  # of these only those in a row count
        self.failures.pop(event.commit, None)
        self.scores.setdefault(event.commit, {})[event.seed] = result.val_bpb
        known = result.speed is not None and result.speed.reference_s == self.reference_s
        speed = result.speed.mean if result.speed is not None and known else None
        here = Conditions(event.t, result.total_wall_s, speed, self.ended)
        self.conditions.setdefault(event.commit, {})[event.seed] = here
        self.facts.setdefault(event.commit, event)
        if event.commit == self.best:
            self.judged_since_best = 0
        if event.role is Role.BASELINE and self.baseline is None:
            self.baseline = event
        self._show_mean(event, experiment)
        if experiment is not None and experiment.commit == event.commit:
            experiment.measured += 1
            experiment.scored = event
            experiment.peak_memory = max(experiment.peak_memory, result.peak_memory)

    def _show_mean(self, event: ev.Measured, experiment: Experiment | None) -> None:
        """Whose score this is shows the new mean: the experiment, and a kept one that is measured again for others' sake."""
        again = self.kept if event.role in (Role.INCUMBENT, Role.RERUN) else []
        for shown in (experiment, *(self.experiments[number] for number in again)):
            if shown is not None and self.scores.get(shown.commit) is self.scores[event.commit]:
                shown.val_bpb = self.mean(event.commit)

    def _judged(self, event: ev.Judged) -> None:
        experiment = self.experiments[event.number]
        verdict, before = event.verdict, experiment.verdict
        if before is not None and before.kept and not verdict.kept:  # overruled; only ever the last one kept
            self.kept.remove(event.number)
        experiment.judged = event
        if verdict is Verdict.SKIPPED and before is None and event.reason.strip():
            self.said.append(Said(len(self.said) + 1, event.reason, event.number, event.t))
        self.open.pop(event.number, None)
        self.aborted.discard(event.number)
        if verdict is not Verdict.INTERRUPTED and before is None:
            self.judged += 1
        self.tried += verdict.tried - (before is not None and before.tried)
        if verdict.kept:
            self.known.add(event.commit)
            self.scores[event.commit] = self.scores.get(experiment.commit, {})
            self.conditions[event.commit] = self.conditions.get(experiment.commit, {})
            if experiment.commit in self.facts:
                self.facts[event.commit] = self.facts[experiment.commit]
            experiment.kept_as = event.commit
            self.kept.append(event.number)
            self.judged_since_best = 0
        elif experiment.val_bpb is not None:
            self.judged_since_best += 1
        if before is not None:
            return
        if verdict.failed:
            self.crash_streak += experiment.launched  # one that was never trained says something of its agent alone
        elif verdict not in (Verdict.SKIPPED, Verdict.INTERRUPTED):
            self.crash_streak = 0


def fold(events: Iterable[ev.AnyEvent], state: State | None = None) -> State:
    """All events into a state, or into one that was folded before."""
    state = state or State()
    for event in events:
        state.apply(event)
    return state
