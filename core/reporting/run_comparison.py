"""Two runs side by side, for `compare --runs`. Pure."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator

from core.judging.final_check import CLEAR
from core.record.state import State
from core.reporting import phrases
from core.reporting.outcome import FinalCheck, Gain
from core.reporting.status import RunStatus
from core.target import TARGET
from nanochat.contract.value import Data

LABEL, GAP = 18, 2  # columns of the labels, and between the two runs
UNKNOWN = "-"


class RunFacts(Data, frozen=True, kw_only=True):
    """What is compared of a run.

    Attributes:
        run: Its name.
        phase: What it is doing.
        start, best: val_bpb of the start and of the best on the scale of the run.
        gain: The best against the start so far.
        final_check: The same measured afresh.
        tried, kept: Counts of experiments.
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
    room = max(20, (width - LABEL - GAP) // 2)
    for label, *cells in _rows(comparison):
        columns = [textwrap.wrap(cell, room) or [UNKNOWN] for cell in cells]
        for index in range(max(map(len, columns))):
            left, right = (column[index] if index < len(column) else "" for column in columns)
            yield f"{label if not index else '':<{LABEL}}{left:<{room}}{'':<{GAP}}{right}".rstrip()
    yield ""
    sentences = ["Not comparable:", *comparison.obstacles] if comparison.obstacles else [comparison.words]
    for index, words in enumerate(sentences):
        indent = "  " if index else ""
        yield from textwrap.wrap(
            words, max(40, width), initial_indent=indent, subsequent_indent=2 * indent, break_on_hyphens=False
        )


def _rows(comparison: RunComparison) -> Iterator[tuple[str, str, str]]:
    """Yield a label and the facts of both runs."""
    first, second = map(_cells, comparison.runs)
    for label in first:
        yield label, first[label], second[label]


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
        "hours": f"{facts.hours:.1f}",
        "machine": phrases.one_line(", ".join((facts.device, *facts.machine)), 240),
        "training": training,
        "dataset": phrases.one_line(facts.dataset, 240),
        "agent": phrases.one_line(facts.agent, 120),
        "phase": phrases.one_line(facts.phase, 120),
    }


def _bpb(score: float | None) -> str:
    return f"{score:.4f}" if score is not None else UNKNOWN


def _afresh(check: FinalCheck) -> str:
    return f"{phrases.change(check.change, check.error)}, {'holds' if check.holds else 'not certain'}"


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
    if first.final_check is not None and second.final_check is not None:
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
