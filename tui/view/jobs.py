"""What the loop does now: the running jobs, and the proposal that waits for an answer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from core.model import Role
from core.record.live import Picture, Slot, Waiting
from core.record.state import State
from core.reporting import activity
from nanochat.contract.job import Outcome
from tui.view import words

STEADY = 0.03  # share of the budget after which the time left is estimated
OWN_PACE = 0.3  # share of the budget from which a training's own pace tells more than that of earlier ones
MOST_LOOKED = 20  # trainings that are looked through for the usual times
TRAINING, SCORING = "training", "scoring"


@dataclass(frozen=True)
class RunningJob:
    """A running job, as the loop last described it."""

    number: int | None
    role: Role
    job: str
    phase: str
    progress: float | None  # of the phase, from 0 to 1; None if it is not known
    left_s: float | None
    loss: float | None
    step: int
    tokens_per_s: float | None
    speed: float | None = None  # of the machine, relative to the reference
    budget_s: float = 0.0
    scoring_s: float | None = (
        None  # wall seconds that scoring will take after the training, as it usually does; None: not known
    )
    place: str = ""  # among the trainings that belong together, such as "seed 5 of at most 8"

    @property
    def name(self) -> str:
        return activity.name(self.role, self.number)

    @property
    def stands(self) -> str:
        """How far the phase is, and what comes after it, as text. The times are wall times."""
        left = f", about {words.clock(self.left_s)} left" if self.left_s is not None else ""
        doing = activity.doing(self.role, self.phase)
        if self.phase == TRAINING and self.budget_s:
            then = f", then scoring, about {words.clock(self.scoring_s)}" if self.scoring_s is not None else ""
            return f"{doing}, {self.progress or 0.0:.0%} of the budget of {self.budget_s:g} s{left}{then}"
        share = f", {self.progress:.0%}" if self.phase == SCORING and self.progress is not None else ""
        return f"{doing}{share}{left}"

    @property
    def activity(self) -> str:
        """A short description of what the job is doing."""
        return ", ".join(filter(None, (activity.doing(self.role, self.phase), self.place)))


@dataclass(frozen=True)
class Usual:
    """The wall times of an earlier training of the run, from which those of the next ones are estimated."""

    setup_s: float
    pace: float  # wall seconds for a second of the budget
    scoring_s: float


def usual_times(state: State) -> Usual | None:
    """Return the times of the latest training that was scored; None before the first one."""
    for measured in islice(reversed(state.facts.values()), MOST_LOOKED):
        result = measured.result
        if result.outcome is Outcome.SCORED and result.charged_s > 0 and SCORING in result.parts:
            setup = result.parts.get("preflight", 0.0) + result.parts.get("setup", 0.0)
            return Usual(setup, result.wall_s / result.charged_s, result.parts[SCORING])
    return None


def _estimate(slot: Slot, budget: float, usual: Usual | None) -> tuple[float | None, float | None]:
    """Return the progress of a job's phase, from 0 to 1, and the wall seconds that are left of it. None: not known."""
    if slot.phase == TRAINING:
        left = None
        if slot.charged_s and slot.progress > STEADY:
            own = max(0.0, slot.wall_s - (usual.setup_s if usual else 0.0)) / slot.charged_s
            pace = own if usual is None or (own > 0 and slot.progress > OWN_PACE) else usual.pace
            left = max(0.0, budget - slot.charged_s) * pace if pace else None
        return slot.progress, left
    if slot.phase == SCORING:
        return slot.progress, usual.scoring_s * (1 - slot.progress) if usual else None
    if usual is None or usual.setup_s <= 0:
        return None, None
    return min(1.0, slot.wall_s / usual.setup_s), max(0.0, usual.setup_s - slot.wall_s)


def running_jobs(state: State, live: Picture) -> list[RunningJob]:
    """Return the running jobs, the one that was started last at the end. A job that has ended but is still in live.json is left out."""
    budget = state.config.budget_s if state.config else 0.0
    usual, jobs = usual_times(state), []
    slots = {slot.job: slot for slot in live.slots}
    for slot in (slots[job] for job in state.running if job in slots):
        progress, left = _estimate(slot, budget, usual)
        jobs.append(
            RunningJob(
                number=slot.number,
                role=slot.role,
                job=slot.job,
                phase=words.sanitize_line(slot.phase, 20),
                progress=progress,
                left_s=left,
                loss=slot.loss,
                step=slot.step,
                tokens_per_s=slot.tokens_per_s,
                speed=slot.speed,
                budget_s=budget,
                scoring_s=usual.scoring_s if usual else None,
                place=activity.place(state, state.running[slot.job]),
            )
        )
    return jobs


def waiting_proposal(state: State, live: Picture) -> Waiting | None:
    """Return the proposal that waits for an answer. One that was answered but is still in live.json is left out."""
    waiting = live.waiting
    asked = state.open.get(waiting.number) if waiting is not None else None
    return waiting if asked is not None and not asked.approved else None
