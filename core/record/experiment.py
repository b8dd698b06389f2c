"""The experiments of a run and what the human said, as parts of its state. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from core.model import Notes, Role
from core.record import events as ev
from core.verdicts import Verdict
from nanochat.contract.job import CrashClass

AND_HUMAN = " + human"  # added to the name of an agent whose proposal a human revised


@dataclass(slots=True)
class Experiment:
    """One experiment: its events, and the values that follow from them."""

    proposed: ev.Proposed
    revised: ev.Revised | None = None  # the human changed it before it ran
    rebased: ev.Rebased | None = None
    approval: ev.Approved | None = None
    scored: ev.Measured | None = None  # its latest job with a score
    failure: ev.Measured | None = None  # its latest job without a score
    judged: ev.Judged | None = None
    latest: ev.Proposed | ev.Revised | ev.Rebased = field(init=False)  # the event with its present commit
    same_as: int | None = None  # the latest experiment before it with the same hypothesis
    kept_as: str = ""  # the commit on the run's branch, once kept
    attempts: list[str] = field(default_factory=list)  # all its commits, in order
    before: tuple[str, str] | None = None  # commit and parent before it was re-applied to a newer incumbent
    launched: bool = False
    val_bpb: float | None = None  # mean over its seeds
    disturbances: dict[int, int] = field(default_factory=dict)  # seed -> its disturbed trainings
    measured: int = 0  # jobs with a score
    peak_memory: int = 0  # bytes, the maximum over its jobs
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
        """The present commit. For a kept experiment this is the commit on the run's branch."""
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
        """Number of lines added."""
        return (self.revised or self.proposed).added

    @property
    def removed(self) -> int:
        """Number of lines removed."""
        return (self.revised or self.proposed).removed

    # -- its proposal ---------------------------------------------------------------------------------------------

    @property
    def hypothesis(self) -> str:
        return (self.revised.hypothesis if self.revised else "") or self.proposed.hypothesis

    @property
    def agent(self) -> str:
        """Who proposed it. Ends in " + human" if a human revised it."""
        agent = self.proposed.agent
        return agent if self.revised is None or agent.endswith(AND_HUMAN) else agent + AND_HUMAN

    @property
    def charter(self) -> str:
        return self.proposed.charter

    @property
    def topic(self) -> str:
        return self.proposed.topic

    @property
    def notes(self) -> Notes:
        return self.proposed.notes

    @property
    def ablation(self) -> tuple[int, int] | None:
        """What it takes out: the number of a kept experiment, and one of its parts or 0. None if it is not an ablation."""
        return self.notes.without if self.revised is None else None

    @property
    def proposing_s(self) -> float:
        return self.proposed.seconds

    @property
    def retry_of(self) -> int | None:
        """The number of the interrupted experiment that it repeats."""
        return self.proposed.retry_of

    @property
    def is_pending_retry(self) -> bool:
        """Whether it repeats an interrupted experiment and has not begun. Its scores so far are those of the interrupted one."""
        return self.retry_of is not None and not self.launched and self.judged is None

    @property
    def approved(self) -> ev.ApprovedBy | Literal[""]:
        """How it was approved: auto, time-out or human; "" while it waits."""
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
    def parts(self) -> tuple[ev.KeptPart, ...]:
        """The commits of a kept combination, one for each change; () for any other experiment."""
        return self.judged.parts if self.judged else ()

    @property
    def sigma(self) -> float:
        return self.judged.sigma if self.judged else 0.0

    @property
    def within_noise(self) -> bool:
        return self.judged.within_noise if self.judged else False

    @property
    def by(self) -> ev.JudgedBy:
        """`human` if the human gave or overruled the verdict, else ""."""
        return self.judged.by if self.judged else ""

    @property
    def ended_t(self) -> float:
        return self.judged.t if self.judged else 0.0


def experiment_id(number: int) -> str:
    """Return the name of an experiment's folder and ref. Names sort in the order of the numbers."""
    return f"{number:05d}"


def job_folder(run: Path, role: Role, number: int | None, job: str) -> Path:
    """Return the folder of a job. Jobs of the start, and of the incumbent when it is measured again, are under 00000.

    Args:
        run: The folder of the run.
        role: What the training is for.
        number: The number of the experiment; None if the job belongs to none.
        job: The name of the job.
    """
    return run / experiment_id((number or 0) if role.own_folder else 0) / job


@dataclass(slots=True)
class Hint:
    """Something that the human told the agents: a hint, or the reason for skipping an experiment. Numbered from 1."""

    number: int
    text: str
    skipped: int | None = None  # the experiment that was skipped for this reason; None for a hint
    t: float = 0.0
    taken_back: bool = False
    unused: str = ""  # why `search` cannot use it, if that is the agent or one of several
    at: int = 0  # the number of the next experiment when it was said


@dataclass(frozen=True, slots=True)
class Conditions:
    """When and under which conditions a score was measured."""

    t: float  # seconds since the epoch
    wall_s: float  # how long the training took
    speed: float | None  # of the machine, relative to the reference; None if it was not measured
    turn: int = 0  # jobs of the run that had ended by then; unlike a clock, it cannot be set back
    node: str = ""  # the machine of a cluster; "" for that of the loop
