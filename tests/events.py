"""Events for tests, in short."""

from __future__ import annotations

from typing import Any

from core.model import Role
from core.record import events as ev
from nanochat.contract.job import Outcome, Result


def measurement(
    *,
    job: str = "j",
    role: str,
    commit: str,
    seed: int,
    outcome: str = "scored",
    number: int | None = None,
    disturbed: str = "",
    disturbance_ignored: str = "",
    **facts: Any,
) -> ev.Measured:
    """A job that ended. `facts` are fields of its Result."""
    return ev.Measured(
        role=Role(role), commit=commit, seed=seed, number=number, disturbed=disturbed, disturbance_ignored=disturbance_ignored,
        result=Result(job=job, outcome=Outcome(outcome), **facts),
    )  # fmt: skip
