"""Events of an experiment, from the proposal to the verdict."""

from __future__ import annotations

from typing import Literal

import msgspec

from core.model import NO_NOTES, Notes
from core.record.events.base import Event
from core.verdicts import Verdict
from nanochat.contract.job import CrashClass
from nanochat.contract.value import Data

ApprovedBy = Literal["auto", "time-out", "human"]
JudgedBy = Literal["", "human"]  # "" for the loop


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
    by: JudgedBy = ""
    parts: tuple[KeptPart, ...] = ()


class Rerun(Event, frozen=True, kw_only=True):
    """The human wants a judged experiment to be measured again on a new seed, or withdrew that wish."""

    number: int
    wanted: bool = True


class Aborted(Event, frozen=True, kw_only=True):
    """The human aborted a running experiment. Its jobs end a moment later."""

    number: int
