"""What was learnt, in one sentence an experiment. Pure."""

from __future__ import annotations

from core.events import Judged
from core.model import Verdict
from core.state import SKIPPED, Experiment


def finding(judged: Judged, experiment: Experiment, parent: float | None) -> str:
    """The sentence for a verdict; `parent` is the mean val_bpb of what the experiment changed."""
    reason = " ".join(judged.reason.split())
    gain = f"{abs(judged.gain):.4f} bpb" if judged.gain is not None else ""
    seeds = f" over {judged.pairs} seeds" if judged.pairs > 1 else ""
    if judged.by == "human" and experiment.verdict is not None:
        return f"{reason[:1].upper()}{reason[1:]}. {experiment.finding}"
    match Verdict(judged.verdict):
        case Verdict.KEEP:
            return f"Better by {gain}{seeds}, beyond the noise of {judged.sigma:.4f}: kept."
        case Verdict.SIMPLIFICATION:
            return f"Within noise{seeds}, with {experiment.removed} lines out and {experiment.added} in: the simpler code was kept."
        case Verdict.DISCARD if judged.gain is None:
            return f"Dropped: {reason}."
        case Verdict.DISCARD if judged.within_noise:
            side = "better" if (judged.gain or 0) > 0 else "worse"
            again = "did not repeat" if judged.pairs > 1 else "made no difference"
            return f"It {again}: {gain} {side}{seeds}, within noise."
        case Verdict.DISCARD:
            return f"Worse by {gain}{seeds}."
        case Verdict.CRASH:
            last = experiment.traceback.strip().splitlines()[-1:] if experiment.traceback else []
            tail = f" ({last[0].strip()})" if last and last[0].strip() not in reason else ""
            return f"Crashed, {judged.crash}: {reason}{tail}"
        case Verdict.INVALID:
            return f"Broke a rule: {reason}"
        case Verdict.TIMEOUT | Verdict.OVERRUN:
            return f"No result: {reason}"
        case Verdict.SKIPPED:
            return f"{SKIPPED.removesuffix('.')}: {reason}" if reason else SKIPPED
        case Verdict.INTERRUPTED:
            return f"Interrupted: {reason}."
        case Verdict.CONFLICT:
            return f"Not run: {reason}"
        case Verdict.DISTURBED:
            return f"No verdict on the idea: {reason}."
