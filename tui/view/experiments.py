"""Convert experiments to rows of the table, and warn about outdated proposals."""

from __future__ import annotations

from dataclasses import dataclass

from core.judging.gain import Scale
from core.record.experiment import Experiment
from core.record.state import State
from core.verdicts import Verdict
from tui.view import words


@dataclass(frozen=True)
class Row:
    """An experiment in the table. `val_bpb` is on the scale of `core.judging.gain`, `change` is that against its parent."""

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
    reruns: bool = False  # it is about to run again on a new seed, or runs
    was_rerun: bool = False  # it was measured again after its verdict


def table_row(state: State, experiment: Experiment, alive: bool = True, scale: Scale | None = None) -> Row:
    """Return the row of an experiment.

    Args:
        state: The state of the run.
        experiment: The experiment.
        alive: Whether a loop runs, which matters for experiments without a verdict.
        scale: The scale of the run's scores, if it is known already.
    """
    verdict, scale, is_pending = experiment.verdict, scale or Scale(state), experiment.is_pending_retry
    return Row(
        number=experiment.number,
        letter=words.verdict_letter(experiment),
        verdict=words.verdict(experiment, alive).removeprefix("crash "),
        tone=_tone(experiment, alive),
        val_bpb=scale.of(experiment),
        change=scale.change(experiment) if verdict is not None else None,
        memory=0 if is_pending else experiment.peak_memory,
        tokens_per_s=0.0 if is_pending else experiment.tokens_per_s,
        agent=words.sanitize_line(experiment.agent, 24),
        added=experiment.added,
        removed=experiment.removed,
        seconds=experiment.seconds,
        hypothesis=words.sanitize_line(experiment.hypothesis, 300),
        reruns=alive and experiment.number in state.reruns,
        was_rerun=experiment.gain is not None and scale.pairs(experiment) > experiment.pairs,
    )


def _tone(experiment: Experiment, alive: bool) -> str:
    """Return the tone of an experiment's verdict and change: a clear loss is bad, and what is within the noise recedes."""
    verdict = experiment.verdict
    if verdict is None:
        return _open_tone(experiment) if alive else ""
    if verdict is Verdict.DISCARD and experiment.gain is not None and experiment.by != "human":
        return "text-error" if experiment.gain < 0 and not experiment.within_noise else "text-muted"
    return verdict.tone


def _open_tone(experiment: Experiment) -> str:
    """Return the tone of an experiment without a verdict: one that waits for an answer has that of the other panes."""
    if experiment.launched:
        return "text-primary"  # in the default theme the accent is the colour of what waits
    return "text-muted" if experiment.approved or experiment.is_pending_retry else "warning"


def outdated_warning(state: State, experiment: Experiment) -> str:
    """Return a warning if a proposal was made for an earlier program.md; otherwise ''."""
    if experiment.verdict is not None or experiment.launched or state.charter is None:
        return ""
    return "program.md has changed since this was proposed." if experiment.charter != state.charter.sha else ""
