"""What a human may do to the experiments of a run: revise, add, run again, overrule. Each is recorded like any other fact."""

from __future__ import annotations

from core.change import edits
from core.model import Proposal
from core.record import events as ev
from core.record.state import Experiment
from core.run.active import Laboratory
from core.verdicts import Verdict

AGENT = "human"


class Declined(Exception):
    """It cannot be done; the message is a sentence that says why. Nothing was changed."""


def revise(lab: Laboratory, number: int, source: str, hypothesis: str = "") -> str:
    """Replace the change of a proposal that is not approved yet. Returns what was done, in words."""
    experiment = lab.state.open[number]
    if source == lab.source(experiment.commit):
        return f"#{number} is as it was"
    _check(lab, lab.source(experiment.parent), source)
    lab.revise(experiment, source, hypothesis)
    return f"#{number} is revised and still waits for your answer"


def own(lab: Laboratory, parent: str, source: str, hypothesis: str) -> str:
    """Queue a human's own train.py, edited from that of the commit `parent`, as an approved experiment."""
    best = lab.state.best
    if parent != best:
        merged = lab.merge(lab.source(parent), lab.source(best), source)
        if merged is None:
            raise Declined("The best moved on while you edited, and changed the same lines. Nothing was started.")
        source = merged
    _check(lab, lab.source(best), source)
    return _queue(lab, source, hypothesis or "An experiment of your own.")


def _check(lab: Laboratory, old: str, new: str) -> None:
    try:
        edits.gate(old, new, off_limits=lab.charter.off_limits)
    except edits.EditError as error:
        raise Declined(f"{error} Nothing was changed.") from error


def _queue(lab: Laboratory, source: str, hypothesis: str) -> str:
    best = lab.state.best
    proposal = Proposal(hypothesis=hypothesis, source=source, agent=AGENT)
    lab.propose(proposal, best, lab.source(best), source, seconds=0.0)
    number = max(lab.state.experiments)
    lab.record(ev.Approved(number=number, by="human"))
    return f"#{number} is queued: {hypothesis}"


def rerun(lab: Laboratory, number: int) -> str:
    """Measure a judged experiment once more on a new seed. Its verdict stays; the score becomes the mean."""
    experiment = _judged(lab, number)
    if number in lab.state.reruns:
        raise Declined(f"#{number} is already about to run again.")
    lab.record(ev.Rerun(number=number))
    again = "" if experiment.val_bpb is not None else "; it had no score so far"
    return f"#{number} runs again on a new seed{again}"


def overrule(lab: Laboratory, number: int, verdict: Verdict) -> str:
    """Give an experiment another verdict, as the human's. Where later keeps build on it, the change is proposed instead."""
    experiment = _judged(lab, number)
    old = experiment.verdict
    assert old is not None
    if verdict == old or (verdict.kept and old.kept):
        raise Declined(f"#{number} is {old.words} already.")
    if verdict.kept:
        return _keep(lab, experiment, verdict)
    if old.kept and lab.state.kept[-1] != number:
        return _undo(lab, experiment)
    lab.judge(_by_human(experiment, verdict))
    lab.point_best()
    return f"#{number} is {verdict.words} now, by your word (it was {old.words})"


def _judged(lab: Laboratory, number: int) -> Experiment:
    experiment = lab.state.experiments.get(number)
    if experiment is None or experiment.verdict is None:
        raise Declined(f"#{number} has no verdict yet.")
    return experiment


def _by_human(experiment: Experiment, verdict: Verdict) -> ev.Judged:
    old = experiment.verdict
    return ev.Judged(
        number=experiment.number,
        verdict=verdict,
        finding="",
        reason=f"overruled by the human; it was {old.words if old else 'open'}",
        gain=experiment.gain,
        error=experiment.error,
        pairs=experiment.pairs,
        sigma=experiment.sigma,
        within_noise=experiment.within_noise,
        by=AGENT,
    )


def _keep(lab: Laboratory, experiment: Experiment, verdict: Verdict) -> str:
    number, best = experiment.number, lab.state.best
    if experiment.val_bpb is None or lab.state.mean(experiment.parent) is None:
        raise Declined(f"#{number} has no score, so it cannot be kept. Run it again first.")
    if experiment.parent == best:
        lab.judge(_by_human(experiment, verdict))
        return f"#{number} is kept, by your word"
    merged = lab.merge(lab.source(experiment.parent), lab.source(best), lab.source(experiment.commit))
    if merged is None:
        raise Declined(f"The best has changed the same lines since #{number}, so it cannot be kept as it is.")
    _check(lab, lab.source(best), merged)
    words = _queue(lab, merged, f"Once more on the present best, by the human's word: {experiment.hypothesis}")
    return f"The best moved on since #{number}; {words}"


def _undo(lab: Laboratory, experiment: Experiment) -> str:
    best = lab.state.best
    merged = lab.merge(lab.source(experiment.commit), lab.source(best), lab.source(experiment.parent))
    if merged is None:
        raise Declined(
            f"Later kept changes touch the same lines as #{experiment.number}, so it cannot be undone by itself."
        )
    _check(lab, lab.source(best), merged)
    words = _queue(lab, merged, f"Undo #{experiment.number}: {experiment.hypothesis}")
    return f"Later keeps build on #{experiment.number}, so undoing it is an experiment: {words}"
