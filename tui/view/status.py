"""The data of the status line."""

from __future__ import annotations

from dataclasses import dataclass

from core.judging import final_check, gain
from core.judging.final_check import FinalCheck
from core.judging.gain import Difference
from core.judging.noise import Noise
from core.model import ApprovalMode, Role
from core.record.live import Picture
from core.record.state import State
from core.reporting import phrases, scoreboard, status
from tui.view import words
from tui.view.jobs import TRAINING, RunningJob, running_jobs, waiting_proposal

WINDOW_S = 3 * 3600.0  # experiments per hour are averaged over this time


@dataclass(frozen=True)
class Status:
    """The content of the status line."""

    run: str
    doing: str
    progress: float | None
    left_s: float | None
    gain: Difference | None  # the best against the start; None before the start was measured
    sigma: float | None
    noise_range: str
    kept: int
    tried: int
    per_hour: float | None
    agent: str
    gate: ApprovalMode
    worked_s: float  # seconds that the loops of the run have worked
    alive: bool
    alarm: str  # the most important warning, or ''
    machine: str = ""  # the machine's speed, if it differs from the reference
    budget_s: float | None = None  # that `progress` is a share of, while something trains
    checked: FinalCheck | None = None  # the outcome of the final check


def run_status(state: State, live: Picture, alive: bool, now: float, noise: Noise | None, trouble: str = "") -> Status:
    """Return the status.

    Args:
        state: The state of the run.
        live: The content of live.json.
        alive: Whether a loop runs.
        now: Seconds since the epoch.
        noise: The noise of one score; None if it is not known.
        trouble: A problem of the machine or the journal, or ''.
    """
    config = state.config
    running = running_jobs(state, live) if alive else []
    newest = running[-1] if running else None
    found = gain.so_far(state, noise.sigma) if noise is not None else None
    return Status(
        run=state.name,
        doing=_activity(state, live, running, alive),
        machine=phrases.machine_speed(newest.speed) if newest else "",
        progress=newest.progress if newest else None,
        budget_s=newest.budget_s if newest and newest.phase == TRAINING else None,
        left_s=newest.left_s if newest else None,
        gain=found,
        sigma=noise.sigma if noise else None,
        noise_range=noise.range if noise else "",
        kept=len(state.kept),
        tried=state.tried,
        per_hour=_per_hour(state, now) if alive else None,
        agent=words.sanitize_line(state.started.agent if state.started else config.agent if config else "", 24),
        gate=state.approval,
        worked_s=_worked(state, now) if alive else state.worked_s,
        alive=alive,
        checked=final_check.outcome(state, noise.sigma) if noise is not None else None,
        alarm=_alarm(state, alive, trouble, live.stopping),
    )


def _worked(state: State, now: float) -> float:
    """Return the seconds that the loops of a run have worked, up to now."""
    began = state.started.t if state.started and state.stopped is None else now
    return state.seconds_running + max(0.0, now - began)


def _activity(state: State, live: Picture, running: list[RunningJob], alive: bool) -> str:
    """Return a short description of what the loop is doing."""
    if not alive:
        return "finished" if state.finished else "stopped" if state.stopped else "dead"
    if running:
        return _doing(running)
    if jobs := status.starting(state):
        return jobs[-1]
    if waiting_proposal(state, live) is not None:
        return "waiting for you"
    if state.paused:
        return "paused"
    if live.phase:
        return words.sanitize_line(live.phase, 40)
    started = next((e for e in state.open.values() if e.approved), None)
    if started is not None:
        return f"#{started.number} starting"
    return "proposing" if live.proposing else "between experiments"


def _doing(running: list[RunningJob]) -> str:
    """Return what two jobs are doing, or the newest of more, and the number of the others."""
    newest = running[-1]
    of_candidate = [job for job in running if job.number is not None and job.role is not Role.INCUMBENT]
    if len(running) == 2 and len(of_candidate) == 1 and running[0].number == running[1].number:  # a pair
        return f"{of_candidate[0].name} {of_candidate[0].activity}, and the best"
    if len(running) == len(of_candidate) == 2 and running[0].name != newest.name:
        if running[0].activity == newest.activity:
            return f"{running[0].name} {newest.name} {newest.activity}"
        return ", ".join(f"{job.name} {job.activity}" for job in running)
    return f"{newest.name} {newest.activity}" + (f" and {len(running) - 1} more" if len(running) > 1 else "")


def _alarm(state: State, alive: bool, trouble: str, stopping: bool) -> str:
    """Return the most important warning, or ''."""
    if trouble:
        return trouble
    if not alive and state.stopped is None:
        return "loop ended unexpectedly, `make run` resumes"
    if not alive and state.stopped is not None:
        return words.sanitize_line(phrases.ended(state.stopped), 120)
    if stopping:
        return "ends after the final check" if state.checking else "ends after this experiment"
    if state.paused and state.busy and not state.pause_reason:
        return "pausing after this experiment, p resumes"
    if state.paused:
        return (
            f"paused: {words.sanitize_line(state.pause_reason, 100)}"
            if state.pause_reason
            else "paused by you, p resumes"
        )
    if state.charter is not None and state.charter.problem:
        return "program.md has an error; the last valid version is used"
    if banner := scoreboard.banner(state):
        return words.sanitize_line(banner, 120)
    if state.config is not None and state.config.computed:
        return "a rehearsal: scores are computed, nothing is trained"
    if state.unmeasured:
        return words.sanitize_line(f"speed not measured: {state.unmeasured}", 120)
    if state.unprotected:
        return f"unprotected: {', '.join(state.unprotected)}"
    return ""


def _per_hour(state: State, now: float) -> float | None:
    """Return the experiments per hour over the last WINDOW_S seconds, or None if none has ended."""
    began = max(state.started.t if state.started else now, now - WINDOW_S)
    ended = 0
    for number in reversed(state.experiments):
        experiment = state.experiments[number]
        if experiment.verdict is not None and experiment.ended_t < began:
            break
        ended += experiment.verdict is not None and experiment.seconds > 0
    return ended * 3600 / (now - began) if ended and now > began + 30 else None
