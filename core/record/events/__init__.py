"""The events that are written to the journal of a run.

Every event has the wall-clock time `t`, in seconds since the epoch. A new event needs a class in one of these modules, a place in
`AnyEvent` and in `__all__`, and a branch in `core.record.fold`. Events are msgspec structs, since a whole journal is decoded at every start.
"""

from __future__ import annotations

from core.record.events.base import Event
from core.record.events.experiment import (
    Aborted,
    Approved,
    ApprovedBy,
    Judged,
    JudgedBy,
    KeptPart,
    Proposed,
    Rebased,
    Refused,
    Rerun,
    Revised,
)
from core.record.events.run import (
    STOP_REQUESTED,
    ApprovalChanged,
    Charter,
    Created,
    Earlier,
    Hint,
    Lessons,
    Notice,
    Paused,
    ProposedLimit,
    Reported,
    Resumed,
    StartCommit,
    Started,
    Stopped,
    TakenBack,
    Torn,
)
from core.record.events.training import Grouped, Launched, Measured, Processes

SCHEMA = 2  # journals of schema 1 are read too: see core/record/upgrade.py

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

__all__ = [
    "SCHEMA",
    "STOP_REQUESTED",
    "Aborted",
    "AnyEvent",
    "ApprovalChanged",
    "Approved",
    "ApprovedBy",
    "Charter",
    "Created",
    "Earlier",
    "Event",
    "Grouped",
    "Hint",
    "Judged",
    "JudgedBy",
    "KeptPart",
    "Launched",
    "Lessons",
    "Measured",
    "Notice",
    "Paused",
    "Processes",
    "Proposed",
    "ProposedLimit",
    "Rebased",
    "Refused",
    "Reported",
    "Rerun",
    "Resumed",
    "Revised",
    "StartCommit",
    "Started",
    "Stopped",
    "TakenBack",
    "Torn",
]
