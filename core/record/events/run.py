"""Events of the run as a whole: its start and end, the charter, pauses, hints and lessons."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from core.model import NO_COST, ApprovalMode, CharterLimits, Cost, Effect, Limits, RunConfig, Value
from core.record.events.base import Event


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
        effects: What experiments on this dataset, with this profile and a similar budget, have gained. Each change once. Of recorded nights
            under other conditions only the ideas, with their `noise`.
        runs: The earlier runs in these logs that they come from.
        own: The number of experiments of these runs.
        shipped: The number of effects of recorded nights and a benchmark, which come with AutoResearch.
    """

    effects: tuple[Effect, ...]
    runs: tuple[str, ...] = ()
    own: int = 0
    shipped: int = 0


STOP_REQUESTED = "stop requested"  # the reason in `Stopped` after the command `stop`, or its key in the app


class Stopped(Event, frozen=True, kw_only=True):
    """The loop ended. The end of a killed loop is recorded when the run is opened the next time.

    Attributes:
        reason: Why.
        finished: Whether a limit was reached or the agent was exhausted.
        worked_s: Seconds that the loop has worked, without those that the machine slept. None in older journals.
    """

    reason: str
    finished: bool = False
    worked_s: float | None = None


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
    knobs: dict[str, Value] = msgspec.field(default_factory=dict)
    before: dict[str, Value] = msgspec.field(default_factory=dict)
    parent: str = ""
    user_commit: str = ""


class ProposedLimit(NamedTuple):
    """A line for the front matter, and the sentence of program.md that seems to ask for it. An array in the journal."""

    line: str
    sentence: str


class Charter(Event, frozen=True, kw_only=True):
    """program.md was read.

    Attributes:
        sha: Its hash.
        understood: What was understood, as phrases.
        limits: The limits from its front matter.
        proposed: Suggested lines for the front matter.
        warnings: Parts that are not used.
        problem: Why it cannot be used; "" if it can.
        cost: The cost of its restatement by a language model ("meta" in JSON).
    """

    sha: str
    understood: tuple[str, ...] = ()
    limits: CharterLimits = CharterLimits()
    proposed: tuple[ProposedLimit, ...] = ()
    warnings: tuple[str, ...] = ()
    problem: str = ""
    cost: Cost = msgspec.field(default=NO_COST, name="meta")


class Hint(Event, frozen=True, kw_only=True):
    """A hint from the human to the agent. `unused`: why `search` cannot use it, if that is the agent or one of several; "" if it can."""

    text: str
    unused: str = ""


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
        problem: Why there are no lessons, as a sentence.
        cost: What they cost ("meta" in JSON).
        order: Ideas of agents in the backlog as the model wants them to be tried, the most urgent first.
    """

    lines: tuple[str, ...] = ()
    judged: int = 0
    agent: str = ""
    source: str = ""
    problem: str = ""
    cost: Cost = msgspec.field(default=NO_COST, name="meta")
    order: tuple[str, ...] = ()


class Notice(Event, frozen=True, kw_only=True):
    """A message for the human. It changes nothing but `State.notices`.

    Attributes:
        text: The message.
        stalled: Whether it says that the run is stalled.
    """

    text: str
    stalled: bool = False
