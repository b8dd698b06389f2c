"""What the loop does now: the running jobs, and the proposal that waits for an answer."""

from __future__ import annotations

from dataclasses import dataclass

from core.model import Role
from core.record.live import Picture, Waiting
from core.record.state import State
from core.reporting import activity
from tui.view import words

STEADY = 0.03  # share of the budget after which the time left is estimated


@dataclass(frozen=True)
class RunningJob:
    """A running job, as the loop last described it."""

    number: int | None
    role: Role
    job: str
    phase: str
    progress: float
    left_s: float | None
    loss: float | None
    step: int
    tokens_per_s: float | None
    speed: float | None = None  # of the machine, relative to the reference
    place: str = ""  # among the trainings that belong together, such as "seed 5 of at most 8"

    @property
    def name(self) -> str:
        return activity.name(self.role, self.number)

    @property
    def activity(self) -> str:
        """A short description of what the job is doing."""
        return ", ".join(filter(None, (activity.doing(self.role, self.phase), self.place)))


def running_jobs(state: State, live: Picture) -> list[RunningJob]:
    """Return the running jobs, the one that was started last at the end. A job that has ended but is still in live.json is left out."""
    budget = state.config.budget_s if state.config else 0.0
    jobs = []
    slots = {slot.job: slot for slot in live.slots}
    for slot in (slots[job] for job in state.running if job in slots):
        left = None
        if slot.charged_s and slot.wall_s and slot.phase == "training" and slot.progress > STEADY:
            left = max(0.0, budget - slot.charged_s) * slot.wall_s / slot.charged_s
        jobs.append(
            RunningJob(
                number=slot.number,
                role=slot.role,
                job=slot.job,
                phase=words.sanitize_line(slot.phase, 20),
                progress=slot.progress,
                left_s=left,
                loss=slot.loss,
                step=slot.step,
                tokens_per_s=slot.tokens_per_s,
                speed=slot.speed,
                place=activity.place(state, state.running[slot.job]),
            )
        )
    return jobs


def waiting_proposal(state: State, live: Picture) -> Waiting | None:
    """Return the proposal that waits for an answer. One that was answered but is still in live.json is left out."""
    waiting = live.waiting
    asked = state.open.get(waiting.number) if waiting is not None else None
    return waiting if asked is not None and not asked.approved else None
