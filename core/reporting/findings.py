"""The findings: one sentence about the result of each experiment. Pure."""

from __future__ import annotations

from core.judging import policy
from core.judging.gain import VISIBLE, Scale
from core.record.events import Judged
from core.record.experiment import Experiment
from core.record.fold import SKIPPED
from core.text import capital
from core.verdicts import Verdict


def finding(judged: Judged, experiment: Experiment) -> str:
    """Return the finding for a verdict of an experiment."""
    reason = " ".join(judged.reason.split())
    change, limit = policy.figures(judged.gain or 0.0, judged.needed)
    seeds = f" over {judged.pairs} seeds" if judged.pairs > 1 else ""
    if judged.by == "human" and experiment.verdict is not None:
        return f"{_overruled(reason)}{_measured(experiment)}"
    match judged.verdict:
        case Verdict.KEEP:
            return f"Better by {_size(change)}{seeds}{f'; {limit} was needed' if limit else ''}."
        case Verdict.SIMPLIFICATION if experiment.ablation:
            return f"No longer needed: without it {change}{seeds}, so it was taken out."
        case Verdict.SIMPLIFICATION:
            code = f"kept because it has less code ({experiment.removed} lines out, {experiment.added} in)"
            return f"Inconclusive: {change}{seeds}; {code}."
        case Verdict.DISCARD if judged.gain is None:
            return f"Dropped: {reason}."
        case Verdict.DISCARD if judged.within_noise:
            outcome = "Not confirmed" if judged.pairs > 1 else "Inconclusive"
            hint = f"; {policy.limit_words(judged.gain or 0.0, judged.pairs, limit)}" if limit else ""
            return f"{outcome}: {change}{seeds or ' on one seed'}{hint}."
        case Verdict.DISCARD:
            return f"Worse by {_size(change)}{seeds}."
        case Verdict.CRASH:
            last = experiment.traceback.strip().splitlines()[-1:] if experiment.traceback else []
            tail = f" ({last[0].strip()})" if last and last[0].strip() not in reason else ""
            return f"Crashed, {judged.crash}: {reason}{tail}"
        case Verdict.SKIPPED:
            return f"{SKIPPED.removesuffix('.')}: {reason}" if reason else SKIPPED
        case verdict:
            return verdict.sentence.replace("{reason}", reason)


def shown(experiment: Experiment, scale: Scale) -> str:
    """Return the recorded finding. If the change is another one now, that is added.

    It is after further pairs, or because the step of a kept experiment on the scale of the run is not the mean over its pairs.

    Args:
        experiment: The experiment.
        scale: The scale of its run.
    """
    finding, change = experiment.finding, scale.change(experiment)
    if experiment.gain is None or change is None or abs(experiment.gain + change) < VISIBLE:
        return finding
    now = policy.figures(-change)[0]
    if scale.pairs(experiment) > experiment.pairs:
        return f"{finding.rstrip('.')}, at the verdict. Now estimated as {now}."
    return f"{finding.rstrip('.')}. On the run's scale: {now}."


def _overruled(reason: str) -> str:
    """Return the beginning of the finding for a verdict that the human changed."""
    return f"{capital(' '.join(reason.split()))}. "


def _measured(experiment: Experiment) -> str:
    """Return what was measured, without what the human said before, so that only the last change of the verdict is told."""
    return experiment.finding.removeprefix(_overruled(experiment.reason)) if experiment.by else experiment.finding


def _size(change: str) -> str:
    """Return the figure of a change without its direction, such as "0.0753 bpb"."""
    return change.removesuffix(" better").removesuffix(" worse")
