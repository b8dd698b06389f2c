"""What a running training is for and how far its phase is, in words for the app, the status and the log. Pure."""

from __future__ import annotations

from core.judging.policy import MAX_PAIRS
from core.model import Role
from core.record import events as ev
from core.record.state import State

DOING = {
    Role.BASELINE: "training",
    Role.CANDIDATE: "training",
    Role.REPLICATE: "confirming",
    Role.INCUMBENT: "training again",
    Role.RERUN: "training again",
    Role.FINAL: "training",
    Role.LONGER: "training",
}
SHARED = (Role.BASELINE, Role.INCUMBENT)  # roles of trainings that are not of an experiment
PHASES = {"setup": "setting up"}  # the words for a phase, where it is not one itself


def name(role: Role, number: int | None) -> str:
    """Return whose training it is: an experiment's number, or the role if it trains the baseline or the incumbent."""
    return f"#{number}" if number is not None and role not in SHARED else role


def doing(role: Role, phase: str) -> str:
    """Return what a training is doing, as text."""
    return DOING.get(role, phase) if phase == "training" else PHASES.get(phase, phase)


def place(state: State, job: ev.Launched) -> str:
    """Return the place of a running training among those that belong together, as text; "" if it is the only one.

    Args:
        state: The state of the run, in which the training runs.
        job: The training.

    Returns:
        Such as "seed 5 of at most 8", "3 of 6" or "for #3".
    """
    if job.role is Role.REPLICATE:
        beside = [one.seed for one in state.running.values() if one.commit == job.commit]
        at = len(state.scores.get(job.commit, {})) + 1 + (beside.index(job.seed) if job.seed in beside else 0)
        return f"seed {at} of at most {MAX_PAIRS}"
    if job.role is Role.INCUMBENT and job.number is not None:
        return f"for #{job.number}"
    if not job.role.is_check:
        return ""
    running = [one.job for one in state.running.values() if one.role is job.role]
    done = sum(len(scores) for scores in state.check(job.role).scores.values())
    at = done + 1 + (running.index(job.job) if job.job in running else 0)
    is_of_loop = state.stopped is None and job.role is Role.FINAL  # else `report` was told how many seeds
    whole = 2 * state.started.final_seeds if state.started is not None and is_of_loop else 0
    return f"{at} of {whole}" if at <= whole else f"training {at}"
