"""The events that are written to the journal of a run.

Every event has the wall-clock time `t`, in seconds since the epoch. A new event needs a class here, a place in `AnyEvent`,
and a branch in `core.record.fold`. Events are msgspec structs, since a whole journal is decoded at every start.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from core.model import (
    NO_COST,
    NO_NOTES,
    ApprovalMode,
    CharterLimits,
    Cost,
    Effect,
    Limits,
    Notes,
    Role,
    RunConfig,
    Value,
)
from core.verdicts import Verdict
from nanochat.contract.job import CrashClass, Outcome, Result
from nanochat.contract.value import Data

SCHEMA = 2  # journals of schema 1 are read too: see core/record/upgrade.py

ApprovedBy = Literal["auto", "time-out", "human"]


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=str.lower, omit_defaults=True):
    """Base class of all events."""

    t: float = 0.0


class Created(Event, frozen=True, kw_only=True):
    """The header of a journal: the schema version and the settings of the run."""

    v: int
    config: RunConfig
    id: str = ""  # random; it shows which run the refs in git belong to
    turn: int = 0  # as in `Started`


class Started(Event, frozen=True, kw_only=True):
    """The loop was started.

    Attributes:
        pid: Its process.
        agent: Who proposes.
        approval: Whether proposals wait for the human.
        slots: Trainings in parallel.
        limits: When it ends by itself.
        carried: The fields of `limits` that come from the start before.
        hours_before: Hours that earlier starts have used of a `max_hours` that comes from them.
        turn: One more than in any other journal of these logs. It orders starts without clocks.
        final_seeds: Seeds of the final check at the end; 0 for no such check.
        machine: The machine, as phrases: what trains first.
        gate_time_s: Seconds that a proposal waits for an answer, where proposals wait.
    """

    pid: int
    agent: str
    approval: ApprovalMode
    slots: int
    limits: Limits = Limits()
    carried: tuple[str, ...] = ()
    hours_before: float = 0.0
    turn: int = 0
    final_seeds: int = 0
    machine: tuple[str, ...] = ()
    gate_time_s: float = 60.0


class Earlier(Event, frozen=True, kw_only=True):
    """What is known from elsewhere when a run begins. Agents may use it; verdicts do not.

    Attributes:
        effects: What experiments on this dataset, with this profile and a similar budget, have gained. Each change once.
        runs: The earlier runs in these logs that they come from.
        own: The number of experiments of these runs.
        shipped: The number of effects of a recorded night and a benchmark, which come with AutoResearch.
    """

    effects: tuple[Effect, ...]
    runs: tuple[str, ...] = ()
    own: int = 0
    shipped: int = 0


STOP_REQUESTED = "stop requested"  # the reason in `Stopped` after the command `stop`, or its key in the app


class Stopped(Event, frozen=True, kw_only=True):
    """The loop ended. `finished`: a limit was reached or the agent was exhausted. Only a killed loop leaves no such event."""

    reason: str
    finished: bool = False


class Torn(Event, frozen=True, kw_only=True):
    """An incomplete last line of `size` bytes was removed when the journal was opened."""

    size: int


class StartCommit(Event, frozen=True, kw_only=True):
    """The commit that the run starts from. It has the user's train.py with the profile's knobs set.

    Attributes:
        commit: The commit.
        source_hash: The hash of its train.py.
        nodes: The size of its train.py, in nodes of the syntax tree.
        knobs: The knobs that were set, with their values.
        before: The same knobs with their values in the user's train.py. Journals of earlier versions lack it.
        parent: The commit below it.
        user_commit: The commit with the user's train.py as it was when the run began.
    """

    commit: str
    source_hash: str
    nodes: int
    knobs: dict[str, Value] = {}
    before: dict[str, Value] = {}
    parent: str = ""
    user_commit: str = ""


class Charter(Event, frozen=True, kw_only=True):
    """program.md was read.

    Attributes:
        sha: Its hash.
        understood: What was understood, as phrases.
        limits: The limits from its front matter.
        proposed: Suggested lines for the front matter, each with the sentence that seems to ask for it.
        warnings: Parts that are not used.
        problem: Why it cannot be used; "" if it can.
        cost: The cost of its restatement by a language model ("meta" in JSON).
    """

    sha: str
    understood: tuple[str, ...] = ()
    limits: CharterLimits = CharterLimits()
    proposed: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    problem: str = ""
    cost: Cost = msgspec.field(default=NO_COST, name="meta")


class Proposed(Event, frozen=True, kw_only=True):
    """A proposal became a commit.

    Attributes:
        seconds: How long the agent took.
        notes: The agent's notes ("meta" in JSON).
        retry_of: The number of the interrupted experiment that it repeats.
    """

    number: int
    commit: str
    parent: str
    fingerprint: str
    hypothesis: str
    agent: str
    charter: str
    topic: str = ""
    notes: Notes = msgspec.field(default=NO_NOTES, name="meta")
    added: int = 0
    removed: int = 0
    nodes: int = 0
    seconds: float = 0.0
    retry_of: int | None = None


class Refused(Event, frozen=True, kw_only=True):
    """The agent could not make a proposal. It is asked again later."""

    number: int
    agent: str
    reason: str


class Revised(Event, frozen=True, kw_only=True):
    """The human changed a proposal before it was approved. An empty `hypothesis` leaves the agent's."""

    number: int
    commit: str
    fingerprint: str
    hypothesis: str = ""
    added: int = 0
    removed: int = 0
    nodes: int = 0


class Approved(Event, frozen=True, kw_only=True):
    """A proposal may be trained. `by`: auto, time-out (nobody answered) or human."""

    number: int
    by: ApprovedBy


class Rebased(Event, frozen=True, kw_only=True):
    """There is a new incumbent: the change was re-applied to it as a new commit, and is measured from scratch."""

    number: int
    commit: str
    parent: str
    fingerprint: str
    nodes: int = 0


class Launched(Event, frozen=True, kw_only=True):
    """A job was started in a slot. For `role` see `core.model.Role`.

    `nodes`: the machines of a cluster, one of which should run it, so that its score forms a pair. () if any may.
    """

    job: str
    role: Role
    commit: str
    seed: int
    slot: int
    number: int | None = None
    nodes: tuple[str, ...] = ()


class Processes(Event, frozen=True, kw_only=True):
    """The processes of a job as (pid, start time). After a crash the next start kills them."""

    job: str
    pids: tuple[tuple[int, float], ...]


class Measured(Event, frozen=True, kw_only=True):
    """A job ended.

    Attributes:
        role: What the training was for.
        commit: What was trained.
        seed: The seed.
        result: The result, with the limits of program.md applied. Its score is on the test split if the role is FINAL.
        number: The experiment; None for the baseline and for the incumbent measured on its own.
        disturbed: Why the score does not count, and the job runs again; "" if it counts.
        disturbance_ignored: A disturbance that was ignored, since it came every time; "" for none.
        node: The machine of the cluster on which it ran; "" for the machine of the loop.
        kind: The processor or card of `node`. Later starts of the run use no other.
    """

    role: Role
    commit: str
    seed: int
    result: Result
    number: int | None = None
    disturbed: str = ""
    disturbance_ignored: str = ""
    node: str = ""
    kind: str = ""

    @property
    def job(self) -> str:
        return self.result.job

    @property
    def scored(self) -> bool:
        """Whether it has a val_bpb that counts."""
        return self.result.outcome is Outcome.SCORED and self.result.val_bpb is not None and not self.disturbed


class Grouped(Event, frozen=True, kw_only=True):
    """A node of a cluster was compared with others by their scores of the same train.py. Pairs stay in one group of nodes.

    Attributes:
        node: The node.
        group: The first node of its group from now on: that of another group that it has joined, or itself.
        other: The first node of the group that it was compared with; "" if it was not.
        difference: The mean of its scores minus theirs, in bpb; positive is worse.
        trainings: The number of differences in the mean, each of one train.py and one seed.
    """

    node: str
    group: str
    other: str = ""
    difference: float = 0.0
    trainings: int = 0


class KeptPart(Data, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """One change of a kept combination: its name and its commit on the run's branch."""

    name: str
    commit: str


class Judged(Event, frozen=True, kw_only=True):
    """The verdict on an experiment, with the figures behind it and the finding.

    `commit` is set for kept experiments: the same tree on top of the previous incumbent, with the scores in its message.
    `parts` is set for a kept combination that has a commit for each change. The last one is `commit`.
    `needed` is `core.judging.policy.Decision.needed`. Journals of earlier versions lack it.
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
    parts: tuple[KeptPart, ...] = ()


class Rerun(Event, frozen=True, kw_only=True):
    """The human wants a judged experiment to be measured again on a new seed, or withdrew that wish."""

    number: int
    wanted: bool = True


class Aborted(Event, frozen=True, kw_only=True):
    """The human aborted a running experiment. Its job ends a moment later."""

    number: int


class Hint(Event, frozen=True, kw_only=True):
    """A hint from the human to the agent."""

    text: str


class TakenBack(Event, frozen=True, kw_only=True):
    """The human took back a hint or a reason for skipping. `number` counts both together, from 1."""

    number: int


class Paused(Event, frozen=True, kw_only=True):
    """No new experiment starts until the run is resumed. `reason` is empty if the human asked for it."""

    reason: str = ""


class Resumed(Event, frozen=True, kw_only=True):
    """The run goes on after a pause."""


class ApprovalChanged(Event, frozen=True, kw_only=True):
    """The approval mode was changed."""

    mode: ApprovalMode
    by: str = ""  # human, or the reason


class Reported(Event, frozen=True, kw_only=True):
    """The start and the incumbent on the test split, trained on one fresh seed. Only in journals of earlier versions.

    Today each training of a final check is a `Measured` with `Role.FINAL`.
    """

    commit: str
    seed: int
    baseline: float
    best: float


class Lessons(Event, frozen=True, kw_only=True):
    """What the run has taught, in the words of a language model. Each such event replaces the one before.

    Attributes:
        lines: The lessons; none if the model could not be asked, or said nothing usable.
        judged: The number of verdicts that they are about.
        agent: The model.
        source: The earlier run that they come from; "" for this one.
        problem: Why there are none, as a sentence.
        cost: What they cost ("meta" in JSON).
    """

    lines: tuple[str, ...] = ()
    judged: int = 0
    agent: str = ""
    source: str = ""
    problem: str = ""
    cost: Cost = msgspec.field(default=NO_COST, name="meta")


class Notice(Event, frozen=True, kw_only=True):
    """A message for the human. It does not change the state of the run."""

    text: str


AnyEvent = (
    Created
    | Started
    | Earlier
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
    | Grouped
    | Judged
    | Rerun
    | Aborted
    | Hint
    | TakenBack
    | Paused
    | Resumed
    | ApprovalChanged
    | Lessons
    | Notice
    | Reported
)
