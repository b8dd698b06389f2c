"""What the panes show, as plain values computed from the state of a run. Pure: no I/O, no widgets, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.judging.noise import Noise
from core.model import Role
from core.record.live import Picture
from core.record.state import Experiment, State, experiment_id
from core.reporting import report, scoreboard
from tui.view import words

STEADY = 0.03  # of the budget, before which nobody can say how long the rest takes
WINDOW_S = 3 * 3600.0  # experiments per hour are counted over this


@dataclass(frozen=True)
class Slot:
    """A job that runs now."""

    number: int | None
    role: Role
    job: str
    phase: str
    progress: float
    left_s: float | None
    loss: float | None
    step: int
    tokens_per_s: float | None
    speed: float | None = None  # of the machine, 1 as at the reference

    @property
    def name(self) -> str:
        return report.job_name(self.role, self.number)

    @property
    def words(self) -> str:
        """What it is doing, for one line."""
        return report.doing(self.role, self.phase)


@dataclass(frozen=True)
class Status:
    """The status line."""

    run: str
    doing: str
    progress: float | None
    left_s: float | None
    best: float | None
    delta: float | None  # from the baseline; negative is better
    sigma: float | None
    noise_range: str
    kept: int
    tried: int
    per_hour: float | None
    agent: str
    gate: str
    running_s: float
    alive: bool
    alarm: str  # the one thing that is wrong, in words
    machine: str = ""  # how fast it is, where that differs from the reference


@dataclass(frozen=True)
class Row:
    """One experiment in the table."""

    number: int
    letter: str
    verdict: str
    tone: str
    val_bpb: float | None
    change: float | None
    memory: int
    tokens_per_s: float
    agent: str
    added: int
    removed: int
    seconds: float
    hypothesis: str


@dataclass(frozen=True)
class Night:
    """Every experiment as a dot, the best so far as a staircase."""

    scored: tuple[tuple[int, float], ...]
    kept: tuple[tuple[int, float], ...]
    failed: tuple[int, ...]
    stairs: tuple[tuple[int, float], ...]
    sigma: float = 0.0  # noise of one score


def slots(state: State, live: Picture) -> list[Slot]:
    """The running jobs, as the loop last told."""
    budget = state.config.budget_s if state.config else 0.0
    found = []
    for slot in live.slots:
        if slot.job not in state.running:
            continue  # the last picture of a job that has ended
        left = None
        if slot.charged_s and slot.wall_s and slot.phase == "training" and slot.progress > STEADY:
            left = max(0.0, budget - slot.charged_s) * slot.wall_s / slot.charged_s
        found.append(
            Slot(
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
            )
        )
    return found


def outdated(state: State, experiment: Experiment) -> str:
    """A sentence where a proposal was made for another program.md than the one that counts by now."""
    if experiment.verdict is not None or experiment.launched or state.charter is None:
        return ""
    return "program.md has changed since this was proposed." if experiment.charter != state.charter.sha else ""


def status(state: State, live: Picture, alive: bool, now: float, noise: Noise | None, trouble: str = "") -> Status:
    """`now` is the wall clock, `trouble` what the machine or the journal says is wrong."""
    config = state.config
    running = slots(state, live) if alive else []
    first = running[-1] if running else None
    baseline = state.mean(state.fit.commit) if state.fit else None
    best = state.mean(state.best)
    began = state.started.t if state.started else state.created_t
    end = now if alive else state.last_t
    return Status(
        run=state.name,
        doing=_doing(state, live, first, alive),
        machine=report.machine(first.speed) if first else "",
        progress=first.progress if first and first.phase == "training" else None,
        left_s=first.left_s if first else None,
        best=best,
        delta=best - baseline if best is not None and baseline is not None else None,
        sigma=noise.sigma if noise else None,
        noise_range=noise.range if noise else "",
        kept=len(state.kept),
        tried=state.tried,
        per_hour=_per_hour(state, end),
        agent=words.sanitize_line(state.started.agent if state.started else config.agent if config else "", 24),
        gate=state.gate,
        running_s=max(0.0, end - began) if began else 0.0,
        alive=alive,
        alarm=_alarm(state, alive, trouble, live.stopping),
    )


def _doing(state: State, live: Picture, slot: Slot | None, alive: bool) -> str:
    if not alive:
        return "finished" if state.finished else "stopped" if state.stopped else "dead"
    if slot is not None:
        return f"{slot.name} {slot.words}"
    if jobs := report.starting(state):
        return jobs[-1]
    if live.waiting:
        return "waiting for you"
    if state.paused:
        return "paused"
    if live.phase:
        return words.sanitize_line(live.phase, 40)
    started = next((e for e in state.open.values() if e.approved), None)
    if started is not None:
        return f"#{started.number} starting"
    return "proposing" if live.proposing else "between experiments"


def _alarm(state: State, alive: bool, trouble: str, stopping: bool) -> str:
    if trouble:
        return trouble
    if not alive and state.stopped is None:
        return "the loop is dead, `make run` continues it"
    if not alive and state.stopped is not None:
        return words.sanitize_line(f"stopped: {state.stopped.reason}", 120)
    if stopping:
        return "stopping after this experiment"
    if state.paused and state.busy and not state.pause_reason:
        return "paused by you after this experiment, p goes on"
    if state.paused:
        return (
            f"paused: {words.sanitize_line(state.pause_reason, 100)}"
            if state.pause_reason
            else "paused by you, p goes on"
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
    began = max(state.started.t if state.started else now, now - WINDOW_S)
    ended = 0
    for number in reversed(state.experiments):
        experiment = state.experiments[number]
        if experiment.verdict is not None and experiment.ended_t < began:
            break
        ended += experiment.verdict is not None and experiment.seconds > 0
    return ended * 3600 / (now - began) if ended and now > began + 30 else None


def row(state: State, experiment: Experiment, alive: bool = True) -> Row:
    """One line of the table. `alive` says whether a loop works on what has no verdict yet."""
    found = experiment.verdict
    parent = state.mean(experiment.parent)
    change = -experiment.gain if experiment.gain is not None else None
    if change is None and experiment.val_bpb is not None and parent is not None and found is not None:
        change = experiment.val_bpb - parent
    return Row(
        number=experiment.number,
        letter=words.letter(experiment),
        verdict=words.verdict(experiment, alive).removeprefix("crash "),
        tone=found.tone if found else "accent" if alive else "",
        val_bpb=experiment.val_bpb,
        change=change,
        memory=experiment.peak_memory,
        tokens_per_s=experiment.tokens_per_s,
        agent=words.sanitize_line(experiment.agent, 24),
        added=experiment.added,
        removed=experiment.removed,
        seconds=experiment.seconds,
        hypothesis=words.sanitize_line(experiment.hypothesis, 300),
    )


def night(state: State, noise: Noise | None) -> Night:
    """The picture of the whole run; experiment 0 is the baseline."""
    baseline = state.mean(state.fit.commit) if state.fit else None
    best, better = baseline, set(state.kept)
    scored: list[tuple[int, float]] = []
    kept: list[tuple[int, float]] = []
    failed: list[int] = []
    stairs = [(0, baseline)] if baseline is not None else []
    for number, experiment in state.experiments.items():
        value = experiment.val_bpb
        if value is not None and number in better:
            kept.append((number, value))
            if value != best:
                best = value
                stairs.append((number, best))
        elif value is not None:
            scored.append((number, value))
        elif experiment.verdict and experiment.verdict.failed:
            failed.append(number)
    if stairs and state.experiments:
        stairs.append((max(state.experiments), stairs[-1][1]))
    return Night(tuple(scored), tuple(kept), tuple(failed), tuple(stairs), noise.sigma if noise else 0.0)


def metrics_of(state: State, folder: Path, commit: str) -> Path | None:
    """The live metrics that the first undisturbed job of a commit left."""
    fact = state.facts.get(commit)
    return job_folder(folder, fact.role, fact.number, fact.job) / "metrics.jsonl" if fact else None


def job_folder(folder: Path, role: Role, number: int | None, job: str) -> Path:
    """Where the files of a job lie: those of the baseline and of re-measurements under 00000."""
    return folder / experiment_id(number if role.own_folder and number is not None else 0) / job
