"""The state of a run, as its journal tells it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from core.model import ApprovalMode, RunConfig
from core.record import events as ev
from core.record.experiment import Conditions, Experiment, Said


@dataclass(slots=True)
class State:
    """A run as its journal tells it. Only `core.record.fold` changes it."""

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
    judged_since_incumbent: int = 0  # of those with a score, since the best was last measured
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
    def incumbent(self) -> str:
        """The commit that the next proposal starts from."""
        if self.kept:
            return self.experiments[self.kept[-1]].commit
        return self.start_commit.commit if self.start_commit else ""

    @property
    def next_number(self) -> int:
        return max(self.experiments, default=0) + 1

    @property
    def params(self) -> int | None:
        """Parameters of the best model, once it was trained."""
        fact = self.facts.get(self.incumbent)
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
