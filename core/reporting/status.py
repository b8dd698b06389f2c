"""The status of a run, as data for `status --json` and as text. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from core.judging import final_check, gain
from core.judging.gain import Scale
from core.judging.noise import Noise
from core.model import ApprovalMode, Limits, Role
from core.record.experiment import Experiment
from core.record.live import Picture, Slot
from core.record.state import State
from core.reporting import activity, advice, findings, highlights, phrases, scoreboard
from core.reporting.highlights import Highlight, Topic
from core.reporting.outcome import FinalCheck, Gain
from core.reporting.phrases import (
    machine_speed,
    one_line,
    resume_command,
    understood,
    verdict,
)
from core.reporting.scoreboard import Score
from nanochat.contract.value import Data


def counts(state: State) -> dict[str, int]:
    """Return verdict -> count, for the verdicts that occurred."""
    return dict(Counter(e.verdict.value for e in state.experiments.values() if e.verdict is not None))


class Loop(Data, frozen=True, kw_only=True):
    """The loop of the run. `pid` is None if it is not alive."""

    alive: bool
    pid: int | None


class Best(Data, frozen=True, kw_only=True):
    """The incumbent: its val_bpb on the scale of the run, its commit, its number of scores, and the experiment that found it (0: the baseline)."""

    val_bpb: float | None
    commit: str
    measurements: int
    experiment: int


class Recent(Data, frozen=True, kw_only=True):
    """One of the latest experiments. `change` is the mean paired change in bpb; negative is better."""

    number: int
    verdict: str  # "" before the verdict
    outcome: str  # as people read it
    val_bpb: float | None
    change: float | None
    within_noise: bool
    agent: str
    hypothesis: str
    finding: str


class Idle(Data, frozen=True, kw_only=True):
    """The place of `Picture` if no loop has written what it does."""


class RunStatus(Data, frozen=True, kw_only=True):
    """The data of `status --json`. Scores and noise are in bpb.

    Attributes:
        run: Name of the run, which is that of its folder.
        begun_as: Its name when it began.
        begun_t: When it began, in seconds since the epoch.
        worked_s: Seconds that its loops have worked. An active loop counts up to its last event.
        proposing_s: Seconds that its agents have taken to propose, also beside trainings.
        tokens: Tokens that language models have read and written.
        report, picture: The paths of report.html and report.png; "" if they do not exist.
        loop: Whether its loop is alive.
        phase: What it is doing, as text.
        dataset, device, profile, executor, budget_s: Its settings. The budget is in seconds.
        agent: Who proposes.
        gate: `ask` or `auto`.
        paused: Whether it is paused.
        baseline: Mean val_bpb of the start; None before it was measured.
        best: The incumbent.
        gain: The best against the start so far; None before the start was measured.
        final_check: Start and best measured afresh; None before that.
        longer_check: The same with a longer budget.
        sigma, sigma_low, sigma_high: Noise of one score, and its 80% interval.
        noise: The same as text.
        pace: How long a training takes, and how many experiments fit into an hour, as text; "" before the baseline has run.
        experiments, judged, tried, kept: Counts of experiments.
        counted: Those with a verdict that count against --max-experiments: all but skipped and interrupted ones.
        advice: What to do next after a run that has kept nothing, as sentences; empty otherwise.
        applied: Whether train.py in the checkout is the best one already.
        set_for_machine: The constants that were set before the run began, such as "DEPTH 2 -> 1". The start has them already, so the
            gain is not due to them. `apply` sets them too. "" for none.
        limits: The limits of the present start that are set.
        verdicts: Verdict -> count.
        outcomes: Verdict as people read it -> count.
        kept_changes, near_misses, hurt: The kept changes, the largest inconclusive gains, and the largest losses.
        topics, untried: The topics that were tried, and those that were not.
        checking: Whether a training of the final check runs, also one of `report`.
        finished: Whether the run is complete.
        rehearsal: Whether scores were computed and nothing was trained.
        last: The latest five experiments, oldest first.
        unprotected: Parts of the sandbox that this machine lacks.
        unmeasured: Why the machine's speed is not measured; "" if it is.
        banner: A warning if a stand-in proposes most of the time; "" otherwise.
        scoreboard: The statistics of the agents as lines.
        agents: The same as data.
        warnings: Sentences about the machine, or those of a cluster.
        understood: What was read in program.md.
        proposed: Suggested lines for its front matter, each with the sentence that seems to ask for it.
        charter_warnings, charter_problem: Parts of program.md that are not used, and why it cannot be used; empty if it can.
        hints: The hints that count.
        lessons: What the run has taught, in the words of a language model.
        live: The present activity of the loop.
    """

    run: str
    begun_as: str
    begun_t: float
    worked_s: float
    proposing_s: float
    tokens: int
    report: str
    picture: str
    loop: Loop
    phase: str
    dataset: str
    device: str
    profile: str
    executor: str
    budget_s: float
    agent: str
    gate: ApprovalMode
    paused: bool
    baseline: float | None
    best: Best
    gain: Gain | None
    final_check: FinalCheck | None
    longer_check: FinalCheck | None
    sigma: float
    sigma_low: float
    sigma_high: float
    noise: str
    pace: str
    experiments: int
    judged: int
    counted: int
    advice: tuple[str, ...]
    applied: bool
    set_for_machine: str
    limits: dict[str, float | int]
    tried: int
    kept: int
    verdicts: dict[str, int]
    outcomes: dict[str, int]
    kept_changes: tuple[Highlight, ...]
    near_misses: tuple[Highlight, ...]
    hurt: tuple[Highlight, ...]
    topics: tuple[Topic, ...]
    untried: tuple[str, ...]
    checking: bool
    finished: bool
    rehearsal: bool
    last: tuple[Recent, ...]
    unprotected: tuple[str, ...]
    unmeasured: str
    banner: str
    scoreboard: tuple[str, ...]
    agents: tuple[Score, ...]
    warnings: tuple[str, ...]
    understood: tuple[str, ...]
    proposed: tuple[tuple[str, str], ...]
    charter_warnings: tuple[str, ...]
    hints: tuple[str, ...]
    lessons: tuple[str, ...]
    charter_problem: str
    live: Picture | Idle


def status(
    state: State,
    noise: Noise,
    loop: int | None,
    live: Picture,
    warnings: Sequence[str] = (),
    *,
    applied: bool = False,
    files: tuple[str, str] = ("", ""),
) -> RunStatus:
    """Return the status of a run. Long, because each field has a line.

    Args:
        state: The state of the run.
        noise: Its noise.
        loop: The pid of its loop, or None.
        live: The present activity of the loop.
        warnings: Sentences for the human.
        applied: Whether train.py in the checkout is the best one already.
        files: The paths of the report and its picture; "" if they do not exist.
    """
    config, charter = state.config, state.charter
    assert config is not None
    scores = scoreboard.scores(state)
    low, high = noise.interval
    return RunStatus(
        run=state.name,
        begun_as=config.name,
        begun_t=state.created_t,
        worked_s=state.worked_s,
        proposing_s=sum(score.seconds for score in scores),
        tokens=sum(score.tokens for score in scores),
        report=files[0],
        picture=files[1],
        loop=Loop(alive=loop is not None, pid=loop),
        phase=phase(state, loop, live),
        dataset=config.dataset,
        device=config.device,
        profile=config.profile,
        executor=config.executor,
        budget_s=config.budget_s,
        agent=state.started.agent if state.started else config.agent,
        gate=state.approval,
        paused=state.paused,
        baseline=gain.start_score(state),
        gain=_gain(state, noise),
        best=Best(
            val_bpb=gain.score(state, state.incumbent),
            commit=state.incumbent,
            measurements=len(state.scores.get(state.incumbent, {})),
            experiment=state.kept[-1] if state.kept else 0,
        ),
        final_check=_check(state, noise, Role.FINAL, loop),
        longer_check=_check(state, noise, Role.LONGER, loop),
        sigma=noise.sigma,
        sigma_low=low,
        sigma_high=high,
        noise=str(noise),
        pace=phrases.pace(state),
        experiments=len(state.experiments),
        judged=state.judged,
        counted=state.counted,
        advice=advice.after_nothing(state, noise),
        applied=applied,
        set_for_machine=phrases.set_for_machine(state),
        limits=_set(state.started.limits) if state.started else {},
        tried=state.tried,
        kept=len(state.kept),
        verdicts=counts(state),
        outcomes=dict(Counter(verdict(e) for e in state.experiments.values() if e.verdict is not None)),
        kept_changes=highlights.kept(state, noise.sigma),
        near_misses=highlights.near_misses(state, noise.sigma),
        hurt=highlights.hurt(state, noise.sigma),
        topics=highlights.topics(state),
        untried=highlights.untried(state),
        checking=state.checking,
        finished=state.finished,
        rehearsal=config.computed,
        last=_last(state, loop),
        unprotected=tuple(state.unprotected),
        unmeasured=state.unmeasured,
        banner=scoreboard.banner(state),
        scoreboard=tuple(scoreboard.lines(scores)),
        agents=tuple(scores),
        warnings=tuple(filter(None, (*warnings, phrases.unequal_nodes(state)))),
        understood=tuple(understood(state)),
        proposed=tuple(charter.proposed) if charter else (),
        charter_warnings=tuple(charter.warnings) if charter else (),
        hints=tuple(hint.text for hint in state.all_hints if not hint.taken_back),
        lessons=state.lessons.lines if state.lessons else (),
        charter_problem=charter.problem if charter else "",
        live=live if live.t else Idle(),
    )


def _gain(state: State, noise: Noise) -> Gain | None:
    difference = gain.so_far(state, noise.sigma)
    if difference is None:
        return None
    return Gain(
        start=difference.start,
        best=difference.best,
        change=difference.change,
        error=difference.error,
        seeds=difference.seeds,
    )


def _last(state: State, loop: int | None) -> tuple[Recent, ...]:
    scale = Scale(state)
    return tuple(_recent(scale, e, loop) for e in list(state.experiments.values())[-5:])


def _recent(scale: Scale, e: Experiment, loop: int | None) -> Recent:
    return Recent(
        number=e.number,
        verdict=e.verdict.value if e.verdict else "",
        outcome=verdict(e, alive=loop is not None),
        val_bpb=scale.of(e),
        change=scale.change(e),
        within_noise=e.within_noise,
        agent=e.agent,
        hypothesis=e.hypothesis,
        finding=findings.shown(e, scale),
    )


def _check(state: State, noise: Noise, role: Role, loop: int | None) -> FinalCheck | None:
    check = final_check.outcome(state, noise.sigma, role)
    if check is None:
        return None
    resume = phrases.check_command(state, role) if loop is None else ""
    return FinalCheck(
        start=check.start,
        best=check.best,
        error=check.error,
        seeds=check.seeds,
        wanted=check.wanted,
        change=check.change,
        needed=check.needed,
        holds=check.holds,
        words=phrases.final_result(check, resume)
        if role is Role.FINAL
        else phrases.longer_result(check, state, resume),
    )


def _set(limits: Limits) -> dict[str, float | int]:
    """Return name -> value of the limits that are set."""
    return {name: value for name, value in msgspec.structs.asdict(limits).items() if value is not None}


def phase(state: State, loop: int | None, live: Picture) -> str:
    """Return what the run is doing, as text."""
    if loop is None:
        if state.stopped is not None:
            return phrases.ended(state.stopped)
        return f"loop ended unexpectedly; {resume_command(state.name)} resumes the run"
    if state.stopped is not None:
        return f"{phrases.ended(state.stopped)}; its loop is ending, and writes the report"
    if state.paused:
        return f"paused {state.pause_reason}".strip()
    slots = [
        f"{activity.name(slot.role, slot.number)} {_doing(state, slot)} {slot.progress:.0%}{_place(slot.node)}"
        + (f" ({words})" if (words := machine_speed(slot.speed)) else "")
        for slot in live.slots
    ]
    ends = ["then it ends"] if live.stopping else []
    asking = live.phase or ("proposing" if live.proposing and not slots else "")
    return (
        ", ".join([*(slots or starting(state)), *([one_line(asking)] if asking else []), *ends])
        or "between experiments"
    )


def _doing(state: State, slot: Slot) -> str:
    """Return what the training in a slot is doing, with its place among those that belong together."""
    launched = state.running.get(slot.job)
    place = activity.place(state, launched) if launched is not None else ""
    return ", ".join(filter(None, (activity.doing(slot.role, slot.phase), place)))


def _place(node: str) -> str:
    """Return where a job runs, if that is not the machine of the loop."""
    return f" on {one_line(node, 40)}" if node else ""


def starting(state: State) -> list[str]:
    """Return a phrase for each launched job, for the time before they report progress."""
    return [f"{activity.name(launched.role, launched.number)} starting" for launched in state.running.values()]
