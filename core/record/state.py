"""What a journal means: a pure fold of events into the state of a run. Replaying the journal reproduces everything."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from core.model import Mode, Role, RunConfig
from core.record import events as ev
from core.verdicts import Verdict
from nanochat.contract.job import CrashClass, Outcome

RERUN_TRIES = 3  # of a measurement that the human wished for, on a disturbed machine
SKIPPED = "Skipped by the human."
AND_HUMAN = " + human"  # behind the name of an agent whose proposal a human revised


@dataclass(slots=True)
class Experiment:
    """One proposal and all that became of it."""

    number: int
    commit: str  # once kept: the commit on the run's branch
    parent: str
    fingerprint: str
    hypothesis: str
    agent: str
    attempts: list[str] = field(default_factory=list)  # every commit that was measured or was to be
    charter: str = ""
    topic: str = ""
    meta: dict[str, Any] = field(default_factory=dict)
    added: int = 0
    removed: int = 0
    nodes: int = 0
    proposed_t: float = 0.0
    proposing_s: float = 0.0
    again: int | None = None
    approved: str = ""
    launched: bool = False
    verdict: Verdict | None = None
    crash: CrashClass | None = None
    reason: str = ""
    finding: str = ""
    gain: float | None = None
    error: float | None = None
    pairs: int = 0
    sigma: float = 0.0
    within_noise: bool = False
    val_bpb: float | None = None  # mean over its seeds
    failure: ev.Measured | None = None  # the last job of it that did not end in a score
    disturbances: int = 0
    measured: int = 0
    params: int | None = None
    steps: int = 0
    tokens_per_s: float = 0.0
    peak_memory: int = 0
    seconds: float = 0.0  # wall seconds over all its jobs
    final_loss: float | None = None
    traceback: str = ""
    ended_t: float = 0.0
    by: str = ""  # human: an overruled verdict
    revised: bool = False  # the human changed it before it ran

    @property
    def id(self) -> str:
        return experiment_id(self.number)


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
    others: int = 0  # bytes of the GPU that other processes held in the last job
    facts: dict[str, ev.Measured] = field(default_factory=dict)  # commit -> its first undisturbed job
    fit: ev.Fit | None = None
    fits: list[str] = field(default_factory=list)
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
    gate: Mode = "auto"
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
        return self.fit.commit if self.fit else ""

    @property
    def best_nodes(self) -> int:
        if self.kept:
            return self.experiments[self.kept[-1]].nodes
        return self.fit.nodes if self.fit else 0

    @property
    def next_number(self) -> int:
        return max(self.experiments, default=0) + 1

    @property
    def params(self) -> int | None:
        """Parameters of the best model, once it was trained."""
        fact = self.facts.get(self.best)
        return fact.params if fact is not None else None

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
        """The fit commit and then exactly the kept ones: what the run's branch holds."""
        return ([self.fit.commit] if self.fit else []) + [self.experiments[n].commit for n in self.kept]

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
                self.experiments[event.number].approved = event.by
            case ev.Judged():
                self._judged(event)
            case ev.Rebased():
                self._rebased(event)
            case ev.Created():
                self.config = msgspec.convert(event.config, RunConfig)
                self.name = self.name or self.config.name
                self.gate = self.config.gate
                self.created_t = event.t
                self.id = event.id or hashlib.sha256(msgspec.json.encode(event)).hexdigest()[:32]
            case ev.Started():
                self.started, self.stopped = event, None
                self.gate = event.gate
                self.crash_streak = 0
                self.paused = False
            case ev.Stopped():
                already, self.stopped = self.stopped, event
                if self.started and not already:
                    self.seconds_running += event.t - self.started.t
            case ev.Fit():
                self.fit = event
                self.known.add(event.commit)
                self.fits.append(event.commit)
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
            case ev.Gate():
                self.gate = event.mode
            case ev.Reported():
                self.reported = event
            case ev.Torn() | ev.Notice():
                pass

    def _proposed(self, event: ev.Proposed) -> None:
        experiment = Experiment(
            number=event.number,
            commit=event.commit,
            parent=event.parent,
            fingerprint=event.fingerprint,
            hypothesis=event.hypothesis,
            agent=event.agent,
            charter=event.charter,
            topic=event.topic,
            meta=event.meta,
            added=event.added,
            removed=event.removed,
            nodes=event.nodes,
            proposed_t=event.t,
            proposing_s=event.seconds,
            again=event.again,
            attempts=[event.commit],
        )
        if event.again is not None:  # what was measured of it before still counts
            earlier = self.experiments[event.again]
            experiment.val_bpb, experiment.measured = self.mean(event.commit), earlier.measured
            experiment.revised = earlier.revised
            experiment.params, experiment.steps = earlier.params, earlier.steps
            experiment.tokens_per_s, experiment.peak_memory = earlier.tokens_per_s, earlier.peak_memory
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
            experiment.finding, experiment.reason = SKIPPED, ""

    def _revised(self, event: ev.Revised) -> None:
        experiment = self.experiments[event.number]
        experiment.commit, experiment.fingerprint, experiment.revised = event.commit, event.fingerprint, True
        experiment.added, experiment.removed, experiment.nodes = event.added, event.removed, event.nodes
        experiment.hypothesis = event.hypothesis or experiment.hypothesis
        if not experiment.agent.endswith(AND_HUMAN):  # whatever comes of it is not the agent's alone
            experiment.agent += AND_HUMAN
        experiment.attempts.append(event.commit)
        self.known.add(event.commit)

    def _rebased(self, event: ev.Rebased) -> None:
        experiment = self.experiments[event.number]
        experiment.commit, experiment.parent = event.commit, event.parent
        experiment.attempts.append(event.commit)
        self.known.add(event.commit)
        experiment.fingerprint, experiment.nodes = event.fingerprint, event.nodes
        experiment.val_bpb, experiment.failure = None, None

    def _measured(self, event: ev.Measured) -> None:
        self.ended += 1
        self.running.pop(event.job, None)
        self.processes.pop(event.job, None)
        if event.outcome != Outcome.INTERRUPTED:
            self.unprotected, self.unmeasured = event.unprotected, event.unmeasured
        if event.speed is not None and self.reference_s is None:
            self.reference_s = event.speed.reference_s
        experiment = self.experiments.get(event.number) if event.number is not None else None
        scored = event.outcome == Outcome.SCORED and event.val_bpb is not None and not event.disturbed
        if experiment is not None:
            experiment.seconds += event.total_wall_s
        if event.outcome == Outcome.INTERRUPTED:
            return
        self.others = event.others
        if event.role == Role.RERUN and event.number is not None:
            tries = self.reruns.pop(event.number, 0) + 1
            if event.disturbed and tries < RERUN_TRIES:
                self.reruns[event.number] = tries
            else:
                self.aborted.discard(event.number)  # it had come to its end
            if not scored:
                return  # the verdict stands as it was
        if event.disturbed:
            if experiment is not None and event.role != Role.INCUMBENT:
                experiment.disturbances += 1
            else:
                self.disturbances[event.commit] = self.disturbances.get(event.commit, 0) + 1
            return
        if not scored:
            if experiment is not None and event.role != Role.INCUMBENT:
                experiment.failure = event
                experiment.peak_memory = max(experiment.peak_memory, event.peak_memory)
                experiment.traceback = event.traceback
            else:
                self.failures[event.commit] = self.failures.get(event.commit, 0) + 1
                if event.role == Role.BASELINE:
                    self.baseline_failure = event
            return
        assert event.val_bpb is not None
        if not event.noisy:
            self.disturbances.pop(event.commit, None)  # of these only those in a row count
        self.failures.pop(event.commit, None)
        self.scores.setdefault(event.commit, {})[event.seed] = event.val_bpb
        known = event.speed is not None and event.speed.reference_s == self.reference_s
        speed = event.speed.mean if event.speed is not None and known else None
        here = Conditions(event.t, event.total_wall_s, speed, self.ended)
        self.conditions.setdefault(event.commit, {})[event.seed] = here
        self.facts.setdefault(event.commit, event)
        if event.commit == self.best:
            self.judged_since_best = 0
        if event.role == Role.BASELINE and self.baseline is None:
            self.baseline = event
        self._show_mean(event, experiment)
        if experiment is not None and experiment.commit == event.commit:
            experiment.measured += 1
            experiment.params = event.params
            experiment.steps = event.steps
            experiment.tokens_per_s = event.tokens / event.charged_s if event.charged_s else 0.0
            experiment.peak_memory = max(experiment.peak_memory, event.peak_memory)
            experiment.final_loss = event.final_loss

    def _show_mean(self, event: ev.Measured, experiment: Experiment | None) -> None:
        """Whose score this is shows the new mean: the experiment, and a kept one that is measured again for others' sake."""
        again = self.kept if event.role in (Role.INCUMBENT, Role.RERUN) else []
        for shown in (experiment, *(self.experiments[number] for number in again)):
            if shown is not None and self.scores.get(shown.commit) is self.scores[event.commit]:
                shown.val_bpb = self.mean(event.commit)

    def _judged(self, event: ev.Judged) -> None:
        experiment = self.experiments[event.number]
        verdict, before = Verdict(event.verdict), experiment.verdict
        if before is not None and before.kept and not verdict.kept:  # overruled; only ever the last one kept
            self.kept.remove(event.number)
        experiment.verdict, experiment.finding, experiment.reason = verdict, event.finding, event.reason
        experiment.crash, experiment.gain, experiment.error = event.crash, event.gain, event.error
        experiment.pairs, experiment.sigma, experiment.within_noise = event.pairs, event.sigma, event.within_noise
        experiment.ended_t, experiment.by = event.t, event.by
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
            experiment.commit = event.commit
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
