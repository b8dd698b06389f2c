"""The facts of a run's report, from its state. Pure; `core.reporting.page` writes them as HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.judging import final_check, gain
from core.judging.final_check import FinalCheck
from core.judging.gain import Difference
from core.judging.noise import Noise
from core.model import Role, RunConfig
from core.record import hints
from core.record.experiment import Experiment
from core.record.state import State
from core.reporting import advice, highlights, phrases, scoreboard
from core.reporting.changes import short_name
from core.reporting.diagnosis import Point
from core.reporting.highlights import Highlight, Topic
from core.reporting.phrases import one_line, verdict
from core.reporting.scoreboard import Score
from core.target import TARGET


@dataclass(frozen=True)
class Material:
    """What a report shows beside the state: texts from git and from the folder of the run.

    Attributes:
        diffs: Kept experiment -> its change as a unified diff.
        diff: The change from the start to the best, as a patch; "" if nothing was kept or it cannot be read.
        start_curve, best_curve: Training loss against progress; empty if it was not recorded.
        program: The text of program.md.
        program_changed: Whether that text is another one than the run used last.
        machine: The machine of the latest start, as phrases; () in journals of earlier versions.
        branch: The branch of the kept changes.
        git: The beginning of a git command that finds it, as words.
        logs: The option for the folder of the logs, as words; () for the default.
    """

    diffs: Mapping[int, str] = field(default_factory=dict)
    diff: str = ""
    start_curve: tuple[Point, ...] = ()
    best_curve: tuple[Point, ...] = ()
    program: str = ""
    program_changed: bool = False
    machine: tuple[str, ...] = ()
    branch: str = ""
    git: tuple[str, ...] = ("git",)
    logs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attempt:
    """An experiment in the chart. `val_bpb` is None without a score."""

    number: int
    val_bpb: float | None
    kept: bool
    failed: bool
    name: str
    words: str  # its outcome and hypothesis


@dataclass(frozen=True)
class Progress:
    """The data of the chart: the attempts, and the best after each kept change.

    Attributes:
        start: Mean val_bpb of the start; None before it was measured.
        steps: (number, mean val_bpb) of each best; the start has the number 0.
        attempts: All experiments that were tried.
        sigma: Noise of one score, in bpb.
        last: The largest number of an experiment; 0 without one.
    """

    start: float | None
    steps: tuple[tuple[int, float], ...]
    attempts: tuple[Attempt, ...]
    sigma: float
    last: int


@dataclass(frozen=True)
class Report:
    """All facts of a report.

    Attributes:
        run: The name of the run.
        config: Its settings.
        limits: The options for the limits of its latest start, as words.
        knows: The option for a start without knowledge of earlier runs, as words, if it began so.
        found: What was found, as the first sentence of the headline: measured afresh, once it was.
        checked: Whether that is confirmed, as further sentences; "" if there is nothing to confirm.
        result: The same in one or two words.
        title: What was found, in a few words.
        subtitle: The counts and the check, as a sentence or two.
        rehearsal: Whether scores were computed and nothing was trained.
        ended: Why the run has ended, as a clause; "" while it goes on.
        started_t: When it began, in seconds since the epoch.
        seconds: How long its loops ran.
        tried: Number of experiments that were tried.
        outcomes: Outcome, as people read it -> count, of the experiments that were tried.
        others: The same of all others, such as skipped ones.
        start, best: val_bpb on the scale of the run; None without a score.
        gain: The gain so far; None without a score.
        check: The final check; None if the best was not measured afresh.
        longer: The outcome of the check with a longer budget, as a sentence; "" without one.
        kept: The kept changes, in order.
        near: Inconclusive gains, the largest first.
        hurt: Losses beyond the noise, the largest first.
        experiments: All experiments with a verdict, in order.
        hints: What the human told the agents: a hint or a skipped experiment, and the words. What was taken back is left out.
        progress: The data of the chart.
        topics: The topics that were tried, the most frequent first.
        untried: The other topics of the target.
        advice: What to do next after a run that has kept nothing, as sentences; empty otherwise.
        set_for_machine: The constants that were set before the run began, such as "DEPTH 2 -> 1"; "" for none.
        noise: The noise and what it means, as a sentence.
        agents: The statistics of the agents.
        unprotected: Parts of the sandbox that the machine lacked.
        nodes: Which nodes of a cluster give the same scores, as a sentence, if some were found to differ; else "".
        commits: The start commit and the commit of the best; "" if they are unknown.
        material: Texts from git and from the folder of the run.
    """

    run: str
    config: RunConfig
    limits: tuple[str, ...]
    knows: tuple[str, ...]
    found: str
    checked: str
    result: str
    title: str
    subtitle: str
    rehearsal: bool
    ended: str
    started_t: float
    seconds: float
    tried: int
    outcomes: Mapping[str, int]
    others: Mapping[str, int]
    start: float | None
    best: float | None
    gain: Difference | None
    check: FinalCheck | None
    longer: str
    kept: tuple[Highlight, ...]
    near: tuple[Highlight, ...]
    hurt: tuple[Highlight, ...]
    experiments: tuple[Highlight, ...]
    hints: tuple[tuple[str, str], ...]
    progress: Progress
    topics: tuple[Topic, ...]
    untried: tuple[str, ...]
    advice: tuple[str, ...]
    set_for_machine: str
    noise: str
    agents: tuple[Score, ...]
    unprotected: tuple[str, ...]
    nodes: str
    commits: tuple[str, str]
    material: Material

    @property
    def headline(self) -> str:
        """What was found and whether it is confirmed, as sentences."""
        return f"{self.found}.{' ' if self.checked else ''}{self.checked}"


def report(state: State, noise: Noise, material: Material) -> Report:
    """Return the facts of a run.

    Args:
        state: The state of the run, which has its header.
        noise: Its noise.
        material: Texts from git and from the folder of the run.
    """
    config = state.config
    assert config is not None
    start, found_gain = gain.start_score(state), gain.so_far(state, noise.sigma)
    check = final_check.outcome(state, noise.sigma)
    longer = final_check.outcome(state, noise.sigma, Role.LONGER)
    experiments = list(state.experiments.values())
    topics = highlights.topics(state)
    result, counts, checked = _finding(state, found_gain, check)
    return Report(
        run=state.name,
        config=config,
        limits=_limits(state),
        knows=() if state.earlier is not None else ("--no-earlier",),
        found=counts,
        checked=checked,
        result=result,
        title=_title(state, found_gain, check),
        subtitle=_subtitle(state, found_gain, check),
        rehearsal=config.computed,
        ended=phrases.why_ended(state.stopped) if state.stopped is not None else "",
        started_t=state.created_t,
        seconds=state.worked_s,
        tried=state.tried,
        outcomes=_outcomes(experiments, tried=True),
        others=_outcomes(experiments, tried=False),
        start=start,
        best=found_gain.best if found_gain is not None else None,
        gain=found_gain,
        check=check,
        longer=phrases.longer_result(longer, state) if longer is not None else "",
        kept=highlights.kept(state, noise.sigma),
        near=highlights.near_misses(state, noise.sigma),
        hurt=highlights.hurt(state, noise.sigma),
        experiments=highlights.judged(state, noise.sigma),
        hints=_hints(state),
        progress=_progress(state, noise.sigma),
        topics=topics,
        untried=highlights.untried(state),
        advice=advice.after_nothing(state, noise),
        set_for_machine=phrases.set_for_machine(state),
        noise=_noise(noise),
        agents=tuple(scoreboard.scores(state)),
        unprotected=tuple(state.unprotected),
        nodes=phrases.unequal_nodes(state),
        commits=(state.start_commit.commit if state.start_commit else "", state.incumbent),
        material=material,
    )


# -- the headline -----------------------------------------------------------------------------------------------------


def _finding(state: State, result: Difference | None, check: FinalCheck | None) -> tuple[str, str, str]:
    """Return the result in one or two words, what was found, and whether it is confirmed."""
    rehearsal = state.config is not None and state.config.computed
    kept, metric, so_far = len(state.kept), TARGET.metric, "" if state.stopped else " so far"
    if result is None:
        return "no score", _opened("The start has no score yet", rehearsal), "Nothing was compared."
    if not kept:
        tried = (
            f"none of {phrases.count(state.tried, 'change')} was kept{so_far}"
            if state.tried
            else f"nothing was tried{so_far}"
        )
        words = _opened(f"{tried[0].upper()}{tried[1:]}", rehearsal)
        return "nothing kept", f"{words}: the start has {metric} {phrases.start_score(result)}", ""
    counts = _opened(f"{phrases.count(kept, 'change')} kept{so_far}", rehearsal)
    if check is None:
        return "not measured afresh", f"{counts}: {metric} {phrases.scores(result)}", "Not measured afresh."
    result_text = f"{counts}: {metric} {phrases.scores(check)} on {phrases.fresh_seeds(check)}"
    if not check.complete:
        words = phrases.final_result(check, phrases.resume_check(state))
        return "not measured afresh", f"{counts}: {metric} {phrases.scores(result)}", words
    outcome = "confirmed" if check.holds else "worse" if check.is_worse else "not certain"
    return outcome, result_text, f"{phrases.final_verdict(check)} {_chosen_by(result)}"


def _chosen_by(result: Difference) -> str:
    """Return the gain on the seeds of the keep rule, as a sentence."""
    return f"On the seeds of the search, which chose the changes: {phrases.scores(result)}."


def _opened(text: str, rehearsal: bool) -> str:
    """Return the beginning of the headline, which says if nothing was trained."""
    return f"In a rehearsal, {text[0].lower()}{text[1:]}" if rehearsal else text


def _title(state: State, result: Difference | None, check: FinalCheck | None) -> str:
    if result is None:
        return "No score yet"
    if not state.kept:
        return f"{'No change kept' if state.tried else 'Nothing tried'}: {TARGET.metric} {result.start:.4f}"
    shown = check if check is not None and check.complete else result
    return f"{TARGET.metric} {shown.start:.4f} -> {shown.best:.4f} ({phrases.change(shown.change)})"


def _subtitle(state: State, result: Difference | None, check: FinalCheck | None) -> str:
    rehearsal = "Rehearsal with computed scores. " if state.config is not None and state.config.computed else ""
    if not state.tried:
        return f"{rehearsal}Only the start was measured."
    counts = f"{rehearsal}{len(state.kept)} of {phrases.count(state.tried, 'change')} kept."
    if check is None or result is None:
        return f"{counts} Not measured afresh." if state.kept else counts
    fresh = f"{phrases.change_of(check)} on {phrases.fresh_seeds(check)}"
    if not check.complete:
        return f"{counts} Measured afresh: {fresh}. {phrases.measured_so_far(check.seeds, check.wanted)}"
    verdict_words = phrases.final_verdict(check).split(". ")[0].rstrip(".")
    return f"{counts} Measured afresh: {fresh}. {verdict_words}. The chart has the seeds of the search: {phrases.change_of(result)}."


def _limits(state: State) -> tuple[str, ...]:
    """Return the options for the limits of the latest start, as words."""
    limits = state.started.limits if state.started is not None else None
    if limits is None:
        return ()
    asked = (("--max-experiments", limits.max_experiments), ("--max-hours", limits.max_hours))
    return tuple(word for option, value in asked if value is not None for word in (option, f"{value:g}"))


def _hints(state: State) -> tuple[tuple[str, str], ...]:
    """Return what the human told the agents, with what it was."""
    return tuple(
        (
            f"hint {hint.number}" if hint.skipped is None else f"#{hint.skipped} skipped",
            one_line(hint.text, 400) + (f" ({hints.unused_words(hint)})" if hint.unused else ""),
        )
        for hint in state.all_hints
        if not hint.taken_back
    )


def _noise(noise: Noise) -> str:
    return (
        f"Two trainings of the same code differ: the noise of one score is {noise} {TARGET.unit}, so a change is kept only if "
        f"it is better by at least {advice.needed(noise.sigma)}, or if it has clearly less code and is not "
        f"clearly worse over two pairs. These limits lie above two standard errors, since many changes are tried and each is looked at "
        f"after every seed: with a lower limit, luck would be kept."
    )


# -- experiments ------------------------------------------------------------------------------------------------------


def _outcomes(experiments: list[Experiment], *, tried: bool) -> dict[str, int]:
    """Return outcome -> count, the most frequent first, of the experiments that were tried, or of the others with a verdict."""
    verdicts = (verdict(e) for e in experiments if e.verdict is not None and e.verdict.tried is tried)
    return dict(Counter(verdicts).most_common())


def _progress(state: State, sigma: float) -> Progress:
    start = gain.start_score(state)
    steps = [(0, start)] if start is not None else []
    scale = gain.Scale(state)
    scores = {number: scale.of(e) for number, e in state.experiments.items()}
    for number in state.kept if steps else ():
        score = scores[number]
        steps += [(number, score)] if score is not None else []
    attempts = tuple(
        Attempt(number, scores[number], e.verdict.kept, e.verdict.failed, short_name(e), _words(e, scores[number]))
        for number, e in state.experiments.items()
        if e.verdict is not None and e.verdict.tried
    )
    return Progress(start, tuple(steps), attempts, sigma, max(state.experiments, default=0))


def _words(e: Experiment, score: float | None) -> str:
    figure = f" {score:.4f}" if score is not None else ""
    return f"#{e.number} {verdict(e)}{figure}: {one_line(e.hypothesis)}"
