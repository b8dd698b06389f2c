"""Convert experiments to rows of the table, and warn about outdated proposals."""

from __future__ import annotations

from dataclasses import dataclass

from core.record.experiment import Experiment
from core.record.state import State
from tui.view import words


@dataclass(frozen=True)
class Row:
    """An experiment in the table."""

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


def table_row(state: State, experiment: Experiment, alive: bool = True) -> Row:
    """Return the row of an experiment. `alive` is whether a loop runs, which matters for those without a verdict."""
    verdict = experiment.verdict
    parent = state.mean(experiment.parent)
    change = -experiment.gain if experiment.gain is not None else None
    if change is None and experiment.val_bpb is not None and parent is not None and verdict is not None:
        change = experiment.val_bpb - parent
    return Row(
        number=experiment.number,
        letter=words.verdict_letter(experiment),
        verdict=words.verdict(experiment, alive).removeprefix("crash "),
        tone=verdict.tone if verdict else "accent" if alive else "",
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


def outdated_warning(state: State, experiment: Experiment) -> str:
    """Return a warning if a proposal was made for an earlier program.md; otherwise ''."""
    if experiment.verdict is not None or experiment.launched or state.charter is None:
        return ""
    return "program.md has changed since this was proposed." if experiment.charter != state.charter.sha else ""
