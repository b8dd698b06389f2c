"""The state of a run, computed from its journal. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.model import ApprovalMode, Cost, Role, RunConfig
from core.record import events as ev
from core.record.experiment import Conditions, Experiment, Hint

FAILED_TRIES = 3  # failures in a row after which the incumbent is not measured on a seed
FAILED_SEEDS = 2  # such seeds after which no change is compared with it on further ones, until it has a score again


@dataclass(slots=True)
class Check:
    """Trainings on fresh seeds, scored on the test split. No verdict depends on them."""

    scores: dict[str, dict[int, float]] = field(default_factory=dict)  # commit -> seed -> bpb on the test split
    conditions: dict[str, dict[int, Conditions]] = field(default_factory=dict)  # commit -> seed -> state of the machine
    tries: dict[tuple[str, int], int] = field(default_factory=dict)  # (commit, seed) -> trainings
    # (commit, seed) -> earlier scores, with the state of the machine
    replaced: dict[tuple[str, int], list[tuple[float, Conditions]]] = field(default_factory=dict)


@dataclass(slots=True)
class Scored:
    """The scores of a commit on one machine, or on several that are alike."""

    scores: dict[int, float] = field(default_factory=dict)  # seed -> val_bpb
    conditions: dict[int, Conditions] = field(default_factory=dict)  # seed -> state of the machine


@dataclass(slots=True)
class State:
    """Everything that is known about a run. Only `core.record.fold` changes it."""

    name: str = ""  # the name of the run's folder, or the name in the header if no folder is known
    config: RunConfig | None = None
    id: str = ""  # the id in the header, or a hash of the header if it has none
    known: set[str] = field(default_factory=set)  # every commit that the run made
    experiments: dict[int, Experiment] = field(default_factory=dict)
    scores: dict[str, dict[int, float]] = field(default_factory=dict)  # commit -> seed -> its latest val_bpb
    checks: dict[Role, Check] = field(default_factory=dict)  # the final check, and the same with a longer budget
    conditions: dict[str, dict[int, Conditions]] = field(default_factory=dict)  # commit -> seed -> state of the machine
    reference_s: float | None = None  # CPU seconds of a gauge reading in the first training with a score
    references: dict[str, float] = field(default_factory=dict)  # node -> the same there; "" for the loop's machine
    kind: str = ""  # processor or card of the nodes of a cluster, which all have the same
    nodes: list[str] = field(default_factory=list)  # machines of a cluster that have trained, the first one first
    on_nodes: dict[str, dict[str, Scored]] = field(default_factory=dict)  # commit -> node -> its scores there
    groups: dict[str, str] = field(default_factory=dict)  # node -> first node of its group, once they were compared
    gone: set[str] = field(default_factory=set)  # nodes on which a training was wanted and could not run
    unmeasured: str = ""  # why the machine's speed was not measured in the last job
    other_gpu_bytes: int = 0  # bytes of the GPU that other processes held in the last job
    facts: dict[str, ev.Measured] = field(default_factory=dict)  # commit -> its first undisturbed job
    earlier: ev.Earlier | None = None  # what was known from elsewhere when the run began
    start_commit: ev.StartCommit | None = None  # the commit that the run starts from
    start_commits: list[str] = field(default_factory=list)  # all start commits, the present one last
    baseline: ev.Measured | None = None
    baseline_failure: ev.Measured | None = None
    disturbances: dict[str, int] = field(default_factory=dict)  # baseline or incumbent -> its disturbed jobs in a row
    failures: dict[str, dict[int, int]] = field(default_factory=dict)  # the same -> seed -> its failed jobs in a row
    beside: set[str] = field(default_factory=set)  # running jobs that began before another job of their commit failed
    kept: list[int] = field(default_factory=list)
    hypotheses: dict[str, int] = field(default_factory=dict)  # hypothesis -> the latest experiment that has it
    open: dict[int, Experiment] = field(default_factory=dict)  # experiments without a verdict
    running: dict[str, ev.Launched] = field(default_factory=dict)
    processes: dict[str, ev.Processes] = field(default_factory=dict)
    reruns: dict[int, int] = field(default_factory=dict)  # experiment to measure again -> disturbed tries so far
    aborted: set[int] = field(default_factory=set)  # experiments that the human aborted and that still run
    all_hints: list[Hint] = field(default_factory=list)
    notices: set[str] = field(default_factory=set)  # texts, so that none needs to be said twice
    charter: ev.Charter | None = None
    restatings: list[Cost] = field(default_factory=list)  # what each restatement of program.md cost
    lessons: ev.Lessons | None = None  # the latest ones that say something
    lessons_at: int = 0  # verdicts when a model was last asked for lessons
    reflections: list[Cost] = field(default_factory=list)  # what each request for lessons cost
    approval: ApprovalMode = "auto"
    paused: bool = False
    pause_reason: str = ""
    started: ev.Started | None = None
    stopped: ev.Stopped | None = None
    crash_streak: int = 0
    judged: int = 0  # experiments with a verdict other than interrupted
    counted: int = 0  # those of them that count against --max-experiments: all but the skipped ones
    tried: int = 0  # experiments that were tried, see `Verdict.tried`
    judged_since_incumbent: int = 0  # scored experiments since the incumbent was last measured
    refused: int = 0
    refusals: dict[str, int] = field(default_factory=dict)  # agent -> its refusals
    unprotected: tuple[str, ...] = ()  # parts of the sandbox that the machine lacked in the last job
    jobs: int = 0  # launched jobs
    ended: int = 0  # jobs with a result
    created_t: float = 0.0
    last_t: float = 0.0
    seconds_running: float = 0.0  # total of all earlier starts

    @property
    def finished(self) -> bool:
        """Whether the run is complete: it reached a limit, or the agent has nothing left to propose."""
        return self.stopped is not None and self.stopped.finished

    @property
    def worked_s(self) -> float:
        """Seconds that the loops of the run have worked. A loop that was killed, or is alive, counts up to its last event."""
        return self.seconds_running + (self.start_s if self.stopped is None else 0.0)

    @property
    def start_s(self) -> float:
        """Seconds that the loop of the latest start has worked. One that was killed, or is alive, counts up to its last event."""
        if self.started is None:
            return 0.0
        if self.stopped is not None and self.stopped.worked_s is not None:
            return self.stopped.worked_s
        return max(0.0, (self.stopped.t if self.stopped is not None else self.last_t) - self.started.t)

    @property
    def slots(self) -> int:
        """How many trainings run at once, in the present or latest start."""
        if self.started is not None:
            return self.started.slots
        return self.config.slots if self.config is not None else 1

    @property
    def busy(self) -> bool:
        """Whether an experiment has begun and has no verdict, even if no job runs at this moment."""
        return bool(self.running) or any(experiment.launched for experiment in self.open.values())

    @property
    def checking(self) -> bool:
        """Whether a training of the final check runs."""
        return any(launched.role.is_check for launched in self.running.values())

    def failed_seeds(self, commit: str) -> set[int]:
        """Return the seeds on which an incumbent fails again and again."""
        return {seed for seed, failures in self.failures.get(commit, {}).items() if failures >= FAILED_TRIES}

    def forget_checks(self) -> None:
        """Forget the running trainings of the final check, after a report that was killed."""
        for job in [job for job, launched in self.running.items() if launched.role.is_check]:
            del self.running[job]

    def training_of(self, experiment: Experiment) -> ev.Measured | None:
        """Return the training that stands for an experiment: the first undisturbed one, or else the failed one."""
        return self.facts.get(experiment.commit) or experiment.failure

    def jobs_of(self, number: int) -> list[ev.Launched]:
        """Return the running jobs for an experiment, those of the incumbent for its pairs included."""
        return [job for job in self.running.values() if job.number == number]

    def check(self, role: Role) -> Check:
        """Return the trainings of a check, FINAL or LONGER. To change them, see `checks`."""
        return self.checks.get(role) or Check()

    @property
    def incumbent(self) -> str:
        """The commit that the next proposal starts from and is compared with; "" before there is a start commit."""
        if self.kept:
            return self.experiments[self.kept[-1]].commit
        return self.start_commit.commit if self.start_commit else ""

    @property
    def next_number(self) -> int:
        return max(self.experiments, default=0) + 1

    @property
    def params(self) -> int | None:
        """Number of parameters of the incumbent's model, or None before it was trained."""
        fact = self.facts.get(self.incumbent)
        return fact.result.params if fact is not None else None

    def mean(self, commit: str) -> float | None:
        """Return the mean val_bpb of a commit over its seeds, or None if it has no score."""
        scores = self.scores.get(commit)
        return sum(scores.values()) / len(scores) if scores else None

    @property
    def hints(self) -> list[str]:
        """The hints that were not taken back, oldest first."""
        return [hint.text for hint in self.all_hints if hint.skipped is None and not hint.taken_back]

    @property
    def commits(self) -> list[str]:
        """The commits on the run's branch: the start commit, then the kept ones."""
        return ([self.start_commit.commit] if self.start_commit else []) + [
            self.experiments[n].commit for n in self.kept
        ]
