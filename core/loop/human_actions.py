"""The human's actions on experiments: revise, add, rerun and overrule. Each returns what was done, as text."""

from __future__ import annotations

from core.change import edits
from core.model import Proposal
from core.record import events as ev
from core.record.experiment import Experiment
from core.reporting.changes import LINE, short_name
from core.run.active import ActiveRun
from core.run.commands import Offer, Reply
from core.verdicts import Verdict, already, may_overrule

AGENT = "human"


class CommandRejected(Exception):
    """The command cannot be carried out. The message says why. Nothing was changed.

    `offer`: what became of a text that the human sent, if it can still be used for an experiment of his own.
    """

    def __init__(self, text: str, offer: Offer | None = None) -> None:
        super().__init__(text)
        self.offer = offer


def reapply(active: ActiveRun, number: int) -> Reply:
    """Re-apply a waiting proposal to the incumbent, unless it already changes that one. Raises CommandRejected."""
    experiment, incumbent = active.state.open[number], active.state.incumbent
    reply = f"#{number} changes the best train.py"
    if experiment.parent != incumbent:
        try:
            merged = active.experiments.reapplied(experiment)
        except edits.EditError as error:
            raise CommandRejected(f"There is a new best, and #{number} does not apply to it: {error}") from error
        active.experiments.move(experiment, merged)
        reply = f"There is a new best; #{number} is re-applied to it"
    return Reply(ok=True, words=reply, offer=Offer(parent=incumbent, source=active.source(experiment.commit)))


def check_approvable(active: ActiveRun, number: int) -> str:
    """Re-apply a proposal to the incumbent before the human's approval counts. Returns what is approved, as text.

    Raises:
        CommandRejected: It does not apply to the incumbent.
    """
    if active.state.open[number].parent == active.state.incumbent:
        return f"approved #{number}"
    try:
        reapply(active, number)
    except CommandRejected as error:
        raise CommandRejected(
            f"#{number} is not approved. {str(error).removesuffix('.')}. Revise or skip it."
        ) from error
    return f"approved #{number}, re-applied to the new best"


def revise(active: ActiveRun, number: int, source: str, hypothesis: str = "", parent: str = "") -> str:
    """Replace the change of a proposal that is not approved yet.

    Args:
        active: The run.
        number: The proposal.
        source: The human's train.py.
        hypothesis: What it tries now; "" if that stays.
        parent: The commit that the edited proposal changes; "" if there was no new incumbent since. If there is one,
            the text is merged into it.

    Raises:
        CommandRejected: It cannot be merged, or it breaks a rule.
    """
    experiment = active.state.open[number]
    if source == active.source(experiment.commit):
        return f"#{number} is as it was"
    merged = _on_incumbent(active, parent or experiment.parent, source, f"#{number} stays as it was.")
    _check(active, active.source(active.state.incumbent), merged)
    moved = experiment.parent != active.state.incumbent
    if moved:
        active.experiments.move(experiment, merged)
    active.experiments.revise(experiment, merged, hypothesis)
    merge = ", merged into the new best," if moved or merged != source else ""
    return f"#{number} is revised{merge} and still waits for your answer"


def rejected_revision(active: ActiveRun, number: int, source: str, parent: str) -> CommandRejected:
    """Return the answer to a revision of a proposal that does not wait any more. It offers the text for an own experiment."""
    experiment = active.state.experiments.get(number)
    base, problem = (
        parent or (experiment.parent if experiment is not None else ""),
        f"#{number} does not wait any more.",
    )
    if base not in active.state.known:
        return CommandRejected(problem)
    incumbent = active.state.incumbent
    text = active.merge_marked(active.source(base), active.source(incumbent), source)
    return CommandRejected(problem, Offer(parent=incumbent, source=text))


def _on_incumbent(active: ActiveRun, parent: str, source: str, unchanged: str) -> str:
    """Return a text that the human edited from the train.py of `parent`, merged into the incumbent's.

    Args:
        active: The run.
        parent: The commit.
        source: The human's text.
        unchanged: The sentence that says what was not done if it cannot be merged.

    Raises:
        CommandRejected: Both changed the same lines. It offers the text with conflict markers.
    """
    incumbent = active.state.incumbent
    if parent == incumbent:
        return source
    old, new = active.source(parent), active.source(incumbent)
    merged = active.merge(old, new, source)
    if merged is None:
        offer = Offer(parent=incumbent, source=active.merge_marked(old, new, source))
        raise CommandRejected(f"A new best train.py changed the same lines as you. {unchanged}", offer)
    return merged


def own(active: ActiveRun, parent: str, source: str, hypothesis: str) -> str:
    """Queue the human's own train.py as an approved experiment.

    If there is a new incumbent meanwhile, the change is merged into it.

    Args:
        active: The run.
        parent: The commit whose train.py the human edited.
        source: The edited train.py.
        hypothesis: What it tries; "" for a default.

    Raises:
        CommandRejected: It cannot be merged, or it breaks a rule.
    """
    source = _on_incumbent(active, parent, source, "Nothing was started.")
    _check(active, active.source(active.state.incumbent), source)
    return _queue(active, source, hypothesis or "An experiment of your own.")


def _check(active: ActiveRun, old: str, new: str) -> None:
    try:
        edits.validate_change(old, new, off_limits=active.program.charter.off_limits)
    except edits.EditError as error:
        raise CommandRejected(f"{error} Nothing was changed.") from error


def _queue(active: ActiveRun, source: str, hypothesis: str) -> str:
    incumbent = active.state.incumbent
    proposal = Proposal(hypothesis=hypothesis, source=source, agent=AGENT)
    active.experiments.propose(proposal, incumbent, active.source(incumbent), source, seconds=0.0)
    number = max(active.state.experiments)
    active.record(ev.Approved(number=number, by="human"))
    return f"#{number} is queued: {hypothesis}"


def rerun(active: ActiveRun, number: int) -> str:
    """Measure a judged experiment again on a new seed. Its verdict stays, and its score becomes the mean. Raises CommandRejected."""
    experiment = _judged(active, number)
    if number in active.state.reruns:
        raise CommandRejected(f"#{number} is already about to run again.")
    active.record(ev.Rerun(number=number))
    again = "" if experiment.val_bpb is not None else "; it had no score so far"
    return f"#{number} runs again on a new seed{again}"


def overrule(active: ActiveRun, number: int, verdict: Verdict) -> str:
    """Replace the verdict of an experiment by the human's.

    A change that cannot be kept or undone directly, since later kept changes build on another incumbent, becomes a new
    experiment instead.

    Raises:
        CommandRejected: It has that verdict already, has no score, or cannot be merged.
    """
    experiment = _judged(active, number)
    old = experiment.verdict
    assert old is not None
    if not may_overrule(old, verdict):
        raise CommandRejected(f"#{number} {already(old)}.")
    if verdict.kept:
        return _keep(active, experiment, verdict)
    if old.kept and active.state.kept[-1] != number:
        return _undo(active, experiment)
    active.experiments.judge(_by_human(experiment, verdict))
    active.point_incumbent()
    return f"#{number}: verdict changed from {old.words} to {verdict.words}"


def _judged(active: ActiveRun, number: int) -> Experiment:
    experiment = active.state.experiments.get(number)
    if experiment is None or experiment.verdict is None:
        raise CommandRejected(f"#{number} has no verdict yet.")
    return experiment


def _by_human(experiment: Experiment, verdict: Verdict) -> ev.Judged:
    old = experiment.verdict
    return ev.Judged(
        number=experiment.number,
        verdict=verdict,
        finding="",
        reason=f"the verdict was changed by hand from {old.words if old else 'open'} to {verdict.words}",
        gain=experiment.gain,
        error=experiment.error,
        pairs=experiment.pairs,
        sigma=experiment.sigma,
        within_noise=experiment.within_noise,
        by="human",
    )


def _keep(active: ActiveRun, experiment: Experiment, verdict: Verdict) -> str:
    number, incumbent = experiment.number, active.state.incumbent
    if experiment.val_bpb is None or active.state.mean(experiment.parent) is None:
        raise CommandRejected(f"#{number} has no score, so it cannot be kept. Run it again first.")
    if experiment.parent == incumbent:
        active.experiments.judge(_by_human(experiment, verdict))
        return f"#{number} is now kept"
    merged = active.merge(active.source(experiment.parent), active.source(incumbent), active.source(experiment.commit))
    if merged is None:
        raise CommandRejected(f"The best has changed the same lines since #{number}, so it cannot be kept as it is.")
    _check(active, active.source(incumbent), merged)
    reply = _queue(active, merged, f"Applied again to the current best, as the human asked: {experiment.hypothesis}")
    return f"The best has changed since #{number}; {reply}"


def _undo(active: ActiveRun, experiment: Experiment) -> str:
    incumbent = active.state.incumbent
    merged = active.merge(active.source(experiment.commit), active.source(incumbent), active.source(experiment.parent))
    if merged is None:
        raise CommandRejected(
            f"Later kept changes touch the same lines as #{experiment.number}, so it cannot be undone by itself."
        )
    _check(active, active.source(incumbent), merged)
    reply = _queue(active, merged, f"Undo {short_name(experiment, LINE)}.")
    return f"Later keeps build on #{experiment.number}, so undoing it is an experiment: {reply}"
