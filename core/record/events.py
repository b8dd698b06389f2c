"""The events of a run: the only things ever written to its journal.

Decoded by msgspec, as all data here: a night's journal is validated and folded at every start, so it must be quick.
Every event carries the wall-clock time `t` (seconds since the epoch). Add an event by adding a class here, also to
`AnyEvent`, and a branch in `core.record.fold`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from core.model import ApprovalMode, CharterLimits, Limits, Role, RunConfig
from core.verdicts import Verdict
from nanochat.contract.job import CrashClass, Outcome, Result

SCHEMA = 2  # journals of schema 1 are read too: see core/record/upgrade.py

ApprovedBy = Literal["auto", "time-out", "human"]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower, omit_defaults=True):
    """Base of all events."""

    t: float = 0.0


class Created(Event, frozen=True, kw_only=True):
    """First line of every journal: the schema version and what must not change."""

    v: int
    config: RunConfig
    id: str = ""  # drawn at random: by it git knows whose a run's refs are
    turn: int = 0  # as in `Started`


class Started(Event, frozen=True, kw_only=True):
    """The loop came up on this run. `turn` is one more than in any other journal of these logs: it orders starts where clocks fail."""

    pid: int
    agent: str
    approval: ApprovalMode
    slots: int
    limits: Limits = Limits()
    turn: int = 0


class Stopped(Event, frozen=True, kw_only=True):
    """The loop ended; `finished` when a limit was reached or the agent was exhausted. Missing only where the process was killed."""

    reason: str
    finished: bool = False


class Torn(Event, frozen=True, kw_only=True):
    """A half-written last line of `size` bytes was cut off when the loop came up."""

    size: int


class StartCommit(Event, frozen=True, kw_only=True):
    """The commit that the run starts from: the user's train.py with the profile's knobs set."""

    commit: str
    source_hash: str
    nodes: int
    knobs: dict[str, Any] = {}
    parent: str = ""
    user_commit: str = ""  # the commit with the user's train.py as it was when the run began


class Charter(Event, frozen=True, kw_only=True):
    """program.md was read: its hash and what was understood of it. `meta`: what restating it cost a model, when one did.

    `proposed`: lines for its front matter, each with the sentence that seems to ask for it. `warnings`: what is not used of it.
    """

    sha: str
    understood: tuple[str, ...] = ()
    limits: CharterLimits = CharterLimits()
    proposed: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    problem: str = ""
    meta: dict[str, Any] = {}


class Proposed(Event, frozen=True, kw_only=True):
    """A proposal passed the checks and became a commit; `retry_of` numbers the interrupted experiment that it repeats."""

    number: int
    commit: str
    parent: str
    fingerprint: str
    hypothesis: str
    agent: str
    charter: str
    topic: str = ""
    meta: dict[str, Any] = {}
    added: int = 0
    removed: int = 0
    nodes: int = 0
    seconds: float = 0.0
    retry_of: int | None = None


class Refused(Event, frozen=True, kw_only=True):
    """The agent's tries for this number did not pass the checks, or it could not propose; it is asked again later."""

    number: int
    agent: str
    reason: str


class Revised(Event, frozen=True, kw_only=True):
    """The human changed a proposal before it was approved. `hypothesis`: what it tries now; "" leaves the agent's."""

    number: int
    commit: str
    fingerprint: str
    hypothesis: str = ""
    added: int = 0
    removed: int = 0
    nodes: int = 0


class Approved(Event, frozen=True, kw_only=True):
    """A proposal may be trained: by itself, since nobody answered in time, or by the human."""

    number: int
    by: ApprovedBy


class Rebased(Event, frozen=True, kw_only=True):
    """The best moved on: the change was re-applied to the new best, as a new commit, and is measured afresh."""

    number: int
    commit: str
    parent: str
    fingerprint: str
    nodes: int = 0


class Launched(Event, frozen=True, kw_only=True):
    """A job went to a slot. `role`: baseline, candidate, confirm (candidate on a further seed), best (re-measured) or rerun."""

    job: str
    role: Role
    commit: str
    seed: int
    slot: int
    number: int | None = None


class Processes(Event, frozen=True, kw_only=True):
    """The processes of a launched job as (pid, start time), so that a later start can sweep what a crash left."""

    job: str
    pids: tuple[tuple[int, float], ...]


class Measured(Event, frozen=True, kw_only=True):
    """A job ended. `disturbed` says why its figures do not count; the job is then run once more. `disturbance_ignored`: why they
    would not, had the machine not been like that each time."""

    role: Role
    commit: str
    seed: int
    result: Result  # with the limits of program.md applied
    number: int | None = None
    disturbed: str = ""
    disturbance_ignored: str = ""

    @property
    def job(self) -> str:
        return self.result.job

    @property
    def scored(self) -> bool:
        """Whether its val_bpb counts."""
        return self.result.outcome is Outcome.SCORED and self.result.val_bpb is not None and not self.disturbed


class Judged(Event, frozen=True, kw_only=True):
    """The verdict on an experiment, with its arithmetic and the sentence that was learnt.

    `commit` is set for kept ones: the same tree, with a message that says the scores, on top of the best before.
    `needed` is `core.judging.policy.Decision.needed`; journals of earlier versions lack it.
    """

    number: int
    verdict: Verdict
    finding: str
    reason: str = ""
    commit: str = ""
    crash: CrashClass | None = None
    gain: float | None = None
    error: float | None = None
    pairs: int = 0
    sigma: float = 0.0
    within_noise: bool = False
    needed: float | None = None
    by: Literal["", "human"] = ""


class Rerun(Event, frozen=True, kw_only=True):
    """The human wants a judged experiment measured once more, on a new seed; or no longer wants it."""

    number: int
    wanted: bool = True


class Aborted(Event, frozen=True, kw_only=True):
    """The human wants no more of a running experiment. Its job ends a moment later."""

    number: int


class Hint(Event, frozen=True, kw_only=True):
    """What the human told the agent."""

    text: str


class TakenBack(Event, frozen=True, kw_only=True):
    """The human took back what he said: a hint or a reason for skipping, by its number among all of them, from 1."""

    number: int


class Paused(Event, frozen=True, kw_only=True):
    """No new experiment starts until resumed; `reason` is empty when the human asked for it."""

    reason: str = ""


class Resumed(Event, frozen=True, kw_only=True):
    pass


class ApprovalChanged(Event, frozen=True, kw_only=True):
    """Proposals wait for the human from now on, or no longer."""

    mode: ApprovalMode
    by: str = ""  # human, or what changed it


class Reported(Event, frozen=True, kw_only=True):
    """The final report: bits per byte of the test split, start and best trained on one fresh seed."""

    commit: str
    seed: int
    baseline: float
    best: float


class Notice(Event, frozen=True, kw_only=True):
    """Something a human should know that changes no state: a lock removed, a disk nearly full, an agent that backs off."""

    text: str


AnyEvent = (
    Created
    | Started
    | Stopped
    | Torn
    | StartCommit
    | Charter
    | Proposed
    | Refused
    | Revised
    | Approved
    | Rebased
    | Launched
    | Processes
    | Measured
    | Judged
    | Rerun
    | Aborted
    | Hint
    | TakenBack
    | Paused
    | Resumed
    | ApprovalChanged
    | Notice
    | Reported
)
