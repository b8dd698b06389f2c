"""Two runs side by side, for `compare --runs` and the app. Pure."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence

from core.change import edits
from core.judging import gain
from core.judging.final_check import CLEAR
from core.record.state import State
from core.reporting import phrases
from core.reporting.highlights import Highlight
from core.reporting.outcome import FinalCheck, Gain
from core.reporting.status import RunStatus
from core.reporting.summary import CHANGE, Line, Span, Tone
from core.target import TARGET
from nanochat.contract.value import Data

LABEL, GAP = 18, 2  # columns of the labels, and between the two runs
UNKNOWN = "-"
LEAST_NAME = 20  # least columns for the name of a kept change


class RunFacts(Data, frozen=True, kw_only=True):
    """What is compared of a run.

    Attributes:
        run: Its name.
        phase: What it is doing.
        start, best: val_bpb of the start and of the best on the scale of the run.
        gain: The best against the start so far.
        final_check: The same measured afresh.
        tried, kept: Counts of experiments.
        trainings: Trainings that have ended, with those that confirm and check.
        kept_changes: What it has kept, in order.
        hours: Hours that its loops have worked.
        agent: Who proposes.
        device, machine: What it trains on; the phrases are those of its latest start, and earlier versions noted none.
        profile, dataset, budget_s: Its settings. The budget is in seconds.
        fingerprint: That of the prepared data.
        compiles: Whether torch.compile works; always true on a CPU.
        rehearsal: Whether scores were computed and nothing was trained.
        start_source: A hash of the train.py that it started from.
    """

    run: str
    phase: str
    start: float | None
    best: float | None
    gain: Gain | None
    final_check: FinalCheck | None
    tried: int
    kept: int
    trainings: int
    kept_changes: tuple[Highlight, ...]
    hours: float
    agent: str
    device: str
    machine: tuple[str, ...]
    profile: str
    dataset: str
    budget_s: float
    fingerprint: str
    compiles: bool
    rehearsal: bool
    start_source: str


class RunComparison(Data, frozen=True, kw_only=True):
    """The data of `compare --runs --json`.

    Attributes:
        runs: The two runs.
        obstacles: Why their scores cannot be compared, as phrases; empty if they can.
        basis: What `difference` is made of: "measured afresh" or "so far"; "" without one.
        difference: The change of the second run minus that of the first, in bpb; negative: the second found more. None if they
            cannot be compared, or one has no score.
        error: Standard error of `difference`, in bpb.
        words: All of this as a sentence.
    """

    runs: tuple[RunFacts, RunFacts]
    obstacles: tuple[str, ...]
    basis: str
    difference: float | None
    error: float | None
    words: str


class Moment(Data, frozen=True, kw_only=True):
    """A time at which another experiment became the best.

    Attributes:
        best: Its number; 0 for the start.
        trainings: Trainings that had ended.
        hours: Hours that the loops had worked.
    """

    best: int
    trainings: int
    hours: float


class Step(Data, frozen=True, kw_only=True):
    """A step of the best: `change` is the difference to the start in bpb, negative is better."""

    trainings: int
    hours: float
    change: float


class RunMaterial(Data, frozen=True, kw_only=True):
    """What the app shows of a run beside its facts: how its best has moved, and its best train.py if it is known."""

    progress: tuple[Step, ...]
    source: str | None


class RunPair(Data, frozen=True, kw_only=True):
    """What the app shows of two runs.

    Attributes:
        comparison: Their facts and their difference.
        progress: How the best of each has moved.
        diff: The change of train.py from the best of the first to that of the second as a unified diff.
        added, removed: Numbers of lines in `diff`.
        missing: Why there is no diff, as a sentence; "" if there is one.
    """

    comparison: RunComparison
    progress: tuple[tuple[Step, ...], tuple[Step, ...]]
    diff: str
    added: int
    removed: int
    missing: str


def facts(state: State, status: RunStatus) -> RunFacts:
    """Return what is compared of a run. `state` has its header."""
    config, start = state.config, state.start_commit
    assert config is not None
    return RunFacts(
        run=status.run,
        phase=status.phase,
        start=status.baseline,
        best=status.best.val_bpb,
        gain=status.gain,
        final_check=status.final_check,
        tried=status.tried,
        kept=status.kept,
        trainings=state.ended,
        kept_changes=status.kept_changes,
        hours=status.worked_s / 3600,
        agent=status.agent,
        device=config.device,
        machine=state.started.machine if state.started is not None else (),
        profile=config.profile,
        dataset=config.dataset,
        budget_s=config.budget_s,
        fingerprint=config.fingerprint,
        compiles=config.compiles,
        rehearsal=config.computed,
        start_source=start.source_hash if start is not None else "",
    )


def run_comparison(first: RunFacts, second: RunFacts) -> RunComparison:
    """Compare two runs by their gains. Scores of different seeds cannot be compared, but paired changes can."""
    obstacles = tuple(_obstacles(first, second))
    basis, pair = _basis(first, second)
    if obstacles or pair is None:
        return RunComparison(
            runs=(first, second), obstacles=obstacles, basis="", difference=None, error=None,
            words=f"Not comparable: {'; '.join(obstacles)}." if obstacles else "No difference yet: a run has no score.",
        )  # fmt: skip
    difference = pair[1].change - pair[0].change
    error = math.hypot(pair[0].error, pair[1].error)
    return RunComparison(
        runs=(first, second), obstacles=(), basis=basis, difference=difference, error=error,
        words=_words(first.run, second.run, basis, difference, error),
    )  # fmt: skip


def text(comparison: RunComparison, width: int) -> Iterator[str]:
    """Yield what `compare --runs` prints, as lines of at most `width` columns."""
    kept: list[Line] = []
    for run in comparison.runs:
        if run.kept_changes:
            kept += [(), (Span(f"Kept by {run.run}"),), *kept_lines(run.kept_changes, width)]
    for line in (*fact_lines(comparison, width), *kept, (), *verdict_lines(comparison, width)):
        yield "".join(span.text for span in line).rstrip()


def fact_lines(comparison: RunComparison, width: int) -> Iterator[Line]:
    """Yield the facts of both runs in two columns, wrapped to `width` columns."""
    room = max(20, (width - LABEL - GAP) // 2)
    tones = [_tones(run) for run in comparison.runs]
    for label, *cells in _rows(comparison):
        columns = [textwrap.wrap(cell, room) or [UNKNOWN] for cell in cells]
        for index in range(max(map(len, columns))):
            left, right = (column[index] if index < len(column) else "" for column in columns)
            yield (
                Span(f"{label if not index else '':<{LABEL}}", "dim"),
                Span(f"{left:<{room}}{'':<{GAP}}", tones[0].get(label, "")),
                Span(right, tones[1].get(label, "")),
            )


def verdict_lines(comparison: RunComparison, width: int) -> Iterator[Line]:
    """Yield which run found more, or why that is not known, wrapped to `width` columns."""
    said = ["Not comparable:", *comparison.obstacles] if comparison.obstacles else [comparison.words]
    is_clear = comparison.difference is not None and abs(comparison.difference) > CLEAR * (comparison.error or 0.0)
    for index, words in enumerate(said):
        indent = "  " if index else ""
        for line in textwrap.wrap(
            words, max(40, width), initial_indent=indent, subsequent_indent=2 * indent, break_on_hyphens=False
        ):
            yield (Span(line, "warn" if comparison.obstacles and not index else "strong" if is_clear else ""),)


def kept_lines(kept: Sequence[Highlight], width: int) -> Iterator[Line]:
    """Yield the kept changes of a run, each in a line of at most `width` columns."""
    for one in kept:
        yield (
            Span(f"{one.change_words:<{CHANGE}}", "good"),
            Span(f"#{one.number:<4} "),
            Span(one.named(max(LEAST_NAME, width - CHANGE - 6))),
        )


def difference_title(pair: RunPair) -> str:
    """Return the line above the diff from one best to the other."""
    if pair.missing:
        return pair.missing
    name = TARGET.path.rpartition("/")[2]
    if not pair.diff:
        return f"The best of both have the same {name}."
    first, second = (run.run for run in pair.comparison.runs)
    return f"{name} from the best of {first} to the best of {second}, +{pair.added} -{pair.removed}"


def run_pair(comparison: RunComparison, runs: tuple[RunMaterial, RunMaterial]) -> RunPair:
    """Return all that the app shows of two runs."""
    old, new = (run.source for run in runs)
    known = old is not None and new is not None
    added, removed = edits.added_removed(old or "", new or "") if known else (0, 0)
    unknown = [f"of {found.run}" for found, run in zip(comparison.runs, runs, strict=True) if run.source is None]
    return RunPair(
        comparison=comparison,
        progress=(runs[0].progress, runs[1].progress),
        diff=edits.unified(old or "", new or "") if known else "",
        added=added,
        removed=removed,
        missing=f"The best train.py {' and '.join(unknown)} cannot be read in the folder of the run, so there is no diff."
        if unknown
        else "",
    )


def progress(state: State, moments: Sequence[Moment]) -> tuple[Step, ...]:
    """Return how the best of a run has moved, on the present scale of the run; () before the start has a score.

    Args:
        state: The state of the run.
        moments: Each time at which another experiment became the best.
    """
    start, scale = gain.start_score(state), gain.Scale(state)
    if start is None:
        return ()
    steps = [Step(trainings=0, hours=0.0, change=0.0)]
    for moment in moments:
        score = scale.of(state.experiments[moment.best]) if moment.best else start
        if score is not None:
            steps.append(Step(trainings=moment.trainings, hours=moment.hours, change=score - start))
    return (*steps, Step(trainings=state.ended, hours=state.worked_s / 3600, change=steps[-1].change))


def _rows(comparison: RunComparison) -> Iterator[tuple[str, str, str]]:
    """Yield a label and the facts of both runs."""
    first, second = map(_cells, comparison.runs)
    for label in first:
        yield label, first[label], second[label]


def _tones(facts: RunFacts) -> dict[str, Tone]:
    """Return label -> tone, for the facts that are not plain."""
    check = facts.final_check
    tones: dict[str, Tone] = {"": "strong", "change so far": "good" if facts.kept else ""}
    return tones if check is None else tones | {"measured afresh": "good" if check.holds else "warn"}


def _cells(facts: RunFacts) -> dict[str, str]:
    """Return label -> fact."""
    check = facts.final_check
    training = f"{facts.profile}, {facts.budget_s:g} s each" + (", a rehearsal" if facts.rehearsal else "")
    return {
        "": facts.run,
        "start": _bpb(facts.start),
        "best": _bpb(facts.best),
        "change so far": phrases.change(facts.gain.change, facts.gain.error) if facts.gain and facts.kept else UNKNOWN,
        "measured afresh": _afresh(check) if check is not None else UNKNOWN,
        "experiments": str(facts.tried),
        "kept": str(facts.kept),
        "trainings": str(facts.trainings),
        "hours": f"{facts.hours:.1f}",
        "machine": phrases.one_line(", ".join((facts.device, *facts.machine)), 240),
        "profile": training,
        "dataset": phrases.one_line(facts.dataset, 240),
        "agent": phrases.one_line(facts.agent, 120),
        "phase": phrases.one_line(facts.phase, 120),
    }


def _bpb(score: float | None) -> str:
    return f"{score:.4f}" if score is not None else UNKNOWN


def _afresh(check: FinalCheck) -> str:
    meaning = "holds" if check.holds else "not certain" if check.complete else f"{check.seeds} of {check.wanted} seeds"
    return f"{phrases.change(check.change, check.error)}, {meaning}"


def _obstacles(first: RunFacts, second: RunFacts) -> Iterator[str]:
    """Yield why the gains of two runs cannot be compared."""
    if first.rehearsal or second.rehearsal:
        both = first.rehearsal and second.rehearsal
        yield "both are rehearsals" if both else f"{first.run if first.rehearsal else second.run} is a rehearsal"
    if first.dataset != second.dataset:
        yield f"other datasets ({first.dataset} and {second.dataset})"
    elif first.fingerprint != second.fingerprint:
        yield f"other data of {first.dataset} (its text has changed)"
    if first.profile != second.profile:
        yield f"other profiles ({first.profile} and {second.profile})"
    if first.budget_s != second.budget_s:
        yield f"other budgets ({first.budget_s:g} s and {second.budget_s:g} s)"
    if first.device != second.device:
        yield f"other devices ({first.device} and {second.device})"
    elif not (first.machine and second.machine):
        unknown = [run.run for run in (first, second) if not run.machine]
        yield f"the machine of {' and of '.join(unknown)} was not recorded"
    elif first.machine != second.machine:
        yield "other machines"
    elif first.compiles != second.compiles:
        yield "torch.compile works only in one of them"
    if first.start_source != second.start_source and first.start_source and second.start_source:
        yield "they started from different train.py, so their gains have other beginnings"


def _basis(first: RunFacts, second: RunFacts) -> tuple[str, tuple[FinalCheck, FinalCheck] | tuple[Gain, Gain] | None]:
    """Return the gains that are compared: those measured afresh if both have one, else those so far."""
    if (
        first.final_check is not None
        and second.final_check is not None
        and first.final_check.complete
        and second.final_check.complete
    ):
        return "measured afresh", (first.final_check, second.final_check)
    if first.gain is not None and second.gain is not None:
        return "so far", (first.gain, second.gain)
    return "", None


def _words(first: str, second: str, basis: str, difference: float, error: float) -> str:
    """Return the difference and what it means, as a sentence."""
    if not error:
        return "No difference: neither run has kept a change."
    figure = f"The change {basis} differs by {phrases.change(difference, error)} from {first} to {second}"
    if abs(difference) <= CLEAR * error:
        return f"{figure}: not certain, it is within two standard errors."
    return f"{figure}: {second} found {'more' if TARGET.gain(difference) > 0 else 'less'} than {first}."
