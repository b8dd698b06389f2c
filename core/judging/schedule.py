"""Decides which measurement or verdict a run needs next, from its state alone. Pure: no I/O, no clock."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from core.judging import grouping, pairing, policy
from core.judging.run_noise import noise as noise
from core.model import Role
from core.record.events import Judged, Launched, Measured
from core.record.experiment import Experiment
from core.record.state import FAILED_SEEDS, FAILED_TRIES, State
from core.target import TARGET
from core.verdicts import Verdict
from nanochat.contract.job import Outcome

REMEASURE_EVERY = 8  # scored experiments after which the incumbent is measured again
MAX_INCUMBENT_SEEDS = 12  # the incumbent is not measured again beyond this number of scores
DISTURBED_TRIES = 2  # disturbed trainings on one seed after which an experiment gets the verdict "disturbed"
CUT_SHORT = 3  # experiments without a result after which a change counts as tried
BESIDE = 8  # two measurements at most this number of jobs apart count as made at the same time
MAX_MACHINE_RETRIES = 3  # tries of the baseline or the incumbent on a disturbed machine


@dataclass(frozen=True)
class Work:
    """A measurement that is wanted: a commit, a seed, and the experiment it is for.

    `nodes`: the machines of a cluster, one of which should run it, so that its score forms a pair. () if any may.
    """

    role: Role
    commit: str
    seed: int
    number: int | None = None
    nodes: tuple[str, ...] = ()

    def is_same(self, other: Work | Launched) -> bool:
        """Return whether the other training would give the score that this one is for."""
        same_place = self.nodes == other.nodes or not set(self.nodes).isdisjoint(other.nodes)
        return (self.commit, self.seed) == (other.commit, other.seed) and same_place


@dataclass(frozen=True)
class Rebase:
    """The incumbent has changed: the experiment's change must be applied to the new one and measured again."""

    number: int


def best_confirmed(state: State) -> float | None:
    """Return the best mean of the commits on the branch that have two or more scores, else the incumbent's mean."""
    means = [
        sum(scores.values()) / len(scores)
        for commit in state.commits
        if len(scores := state.scores.get(commit, {})) > 1
    ]
    return TARGET.best(means) if means else state.mean(state.incumbent)


def _best_level(state: State, experiment: Experiment, parents: Mapping[int, float]) -> float | None:
    """Return the val_bpb that a simplification must hold. `parents`: the parent's scores that form pairs with the candidate's."""
    if pairing.has_several_groups(state):
        return _best_confirmed_by_pairs(state, experiment, parents)
    return best_confirmed(state)


def _best_confirmed_by_pairs(state: State, experiment: Experiment, parents: Mapping[int, float]) -> float | None:
    """Return the same where nodes give different scores: the parent's mean on the candidate's seeds, plus the paired differences.

    The mean scores of two commits cannot be compared there. `parents`: the parent's scores that form pairs with the candidate's.
    """
    shared = [value for seed, value in parents.items() if seed in state.scores.get(experiment.commit, {})]
    differences = [pairing.differences(state, experiment.parent, commit) for commit in state.commits]
    levels = [sum(by_seed.values()) / len(by_seed) for by_seed in differences if len(by_seed) > 1]
    return sum(shared) / len(shared) + (TARGET.best(levels) if levels else 0.0) if shared else None


def assess(state: State, experiment: Experiment, sigma: float) -> Work | Rebase | Judged:
    """Return the next step of an approved experiment: measure it, re-apply it to a newer incumbent, or judge it.

    If there is a newer incumbent, an experiment that has begun is still compared with its own parent to the end. Only a change
    that would be kept is re-applied and measured again. Otherwise each keep would start all open comparisons anew. A change is
    re-applied earlier if its parent would have to be trained again, or cannot be trained.

    Args:
        state: The state of the run.
        experiment: An approved experiment without a verdict.
        sigma: Noise of one measurement, in bpb.
    """
    assert state.config is not None
    if experiment.failure is not None:
        return _judge_failure(experiment, experiment.failure)
    if max(experiment.disturbances.values(), default=0) >= DISTURBED_TRIES:
        return Judged(
            number=experiment.number,
            verdict=Verdict.DISTURBED,
            reason=f"the machine was disturbed during {DISTURBED_TRIES} trainings of this change on one seed, so no result counts",
            finding="",
        )
    candidate, theirs = _paired_scores(state, experiment)
    failed, stale = state.failed_seeds(experiment.parent), experiment.parent != state.incumbent
    if not candidate:
        if stale:
            return Rebase(experiment.number)
        first = policy.order(state.scores.get(experiment.parent, {}), state.config.seed, failed)[0]
        role = Role.REPLICATE if state.scores.get(experiment.commit) else Role.CANDIDATE
        return Work(role, experiment.commit, first, experiment.number)
    if (work := _remeasurement(state, experiment)) is not None:
        return Rebase(experiment.number) if stale else work
    decision = policy.decide(
        candidate,
        theirs,
        sigma,
        run_seed=state.config.seed,
        nodes_delta=experiment.nodes - _ast_nodes(state, experiment.parent),
        nodes=_ast_nodes(state, experiment.parent),
        best_confirmed=None if stale else _best_level(state, experiment, theirs),
        ablation=experiment.ablation is not None,
        failed=failed,
    )
    if decision.action in ("keep", "simplify") and stale:
        return Rebase(experiment.number)
    if decision.action == "measure":
        assert decision.seed is not None
        if decision.who == "incumbent" and len(failed) >= FAILED_SEEDS:
            if stale:
                return Rebase(experiment.number)
            return Judged(
                number=experiment.number,
                verdict=Verdict.DISCARD,
                reason=f"the best train.py failed {FAILED_TRIES} times on each of {len(failed)} seeds, so this change cannot be confirmed",
                finding="",
            )
        if decision.who == "incumbent":
            return _incumbent_work(state, experiment, decision.seed)
        return Work(Role.REPLICATE, experiment.commit, decision.seed, experiment.number)
    return _judge_decision(experiment, decision, sigma)


def _judge_decision(experiment: Experiment, decision: policy.Decision, sigma: float) -> Judged:
    verdict = {"keep": Verdict.KEEP, "simplify": Verdict.SIMPLIFICATION, "discard": Verdict.DISCARD}[decision.action]
    return Judged(
        number=experiment.number,
        verdict=verdict,
        reason=decision.reason,
        finding="",
        gain=decision.gain,
        error=decision.error,
        pairs=decision.pairs,
        sigma=sigma,
        within_noise=decision.within_noise,
        needed=decision.needed,
    )


def _remeasurement(state: State, experiment: Experiment) -> Work | None:
    """Return what to measure again if the conditions of candidate and incumbent cannot be compared, else None.

    If the incumbent was measured earlier, it is measured again. If it was measured much later, the candidate is. If the two were
    measured on nodes that give different scores, the incumbent is measured on the candidate's node. If that node is gone, the
    candidate is measured on the incumbent's.
    """
    failed = state.failed_seeds(experiment.parent)
    pairs = pairing.pairs(state, experiment.commit, experiment.parent)
    for seed in state.scores.get(experiment.commit, {}):
        if seed in failed or seed not in state.scores.get(experiment.parent, {}):
            continue  # the keep rule says which of the two is measured next
        pair = pairs.get(seed)
        if pair is None:
            beside = pairing.nodes(state, experiment.commit, seed)
            return _incumbent_work(state, experiment, seed) if beside else _replicate_work(state, experiment, seed)
        if pairing.comparable(state, pair.here, pair.there):
            continue
        assert pair.here is not None and pair.there is not None  # else they are comparable
        if pair.there.turn < pair.here.turn:
            return _incumbent_work(state, experiment, seed)
        if pair.there.turn - pair.here.turn > BESIDE:
            return _replicate_work(state, experiment, seed)
    return None


def _incumbent_work(state: State, experiment: Experiment, seed: int) -> Work:
    """Return a training of the incumbent where it forms a pair with a candidate."""
    nodes = pairing.nodes(state, experiment.commit, seed)
    return Work(Role.INCUMBENT, experiment.parent, seed, experiment.number, nodes)


def _replicate_work(state: State, experiment: Experiment, seed: int) -> Work:
    """Return a further training of a candidate on the same seed, where it forms a pair with the incumbent."""
    nodes = pairing.nodes(state, experiment.parent, seed)
    return Work(Role.REPLICATE, experiment.commit, seed, experiment.number, nodes)


def to_recheck(state: State) -> Iterator[Experiment]:
    """Yield the waiting proposals that have not run yet and were made under another version of program.md."""
    sha = state.charter.sha if state.charter else ""
    for experiment in state.open.values():
        if not experiment.launched and experiment.charter != sha:
            yield experiment


def tried_changes(state: State, parents: Collection[str], among: Iterable[int] | None = None) -> dict[str, int]:
    """Return the changes of these parents that must not be proposed again, as fingerprint -> latest experiment.

    A change counts as tried while it waits or runs, when it has a verdict on its idea or its code, and when the human skipped
    it. A change that was interrupted, disturbed or overtaken may be proposed again until CUT_SHORT experiments on it were launched.
    A change that broke a rule may be proposed again if it was never trained or if program.md has changed since. It is checked
    against the present rules anyway.

    Args:
        state: The state of the run.
        parents: Commits with the same train.py.
        among: The experiments with such a parent, maybe besides others, in the order of their numbers. None to look for them.
    """
    sha = state.charter.sha if state.charter else ""
    changes: dict[str, int] = {}
    cut_short: Counter[str] = Counter()
    for number in state.experiments if among is None else among:
        experiment = state.experiments[number]
        if experiment.parent not in parents:
            continue
        cut_short[experiment.fingerprint] += experiment.launched
        if _counts_as_tried(experiment, sha) or cut_short[experiment.fingerprint] >= CUT_SHORT:
            changes[experiment.fingerprint] = experiment.number
    return changes


def _counts_as_tried(experiment: Experiment, sha: str) -> bool:
    if experiment.verdict is None or experiment.verdict is Verdict.SKIPPED:
        return True
    if experiment.verdict is Verdict.INVALID and experiment.charter != sha:
        return False
    return experiment.launched and not experiment.verdict.may_repeat


def _ast_nodes(state: State, commit: str) -> int:
    if state.start_commit is not None and commit == state.start_commit.commit:
        return state.start_commit.nodes
    return next((e.nodes for n in reversed(state.kept) if (e := state.experiments[n]).commit == commit), 0)


def _judge_failure(experiment: Experiment, failure: Measured) -> Judged:
    verdict = {
        Outcome.CRASH: Verdict.CRASH,
        Outcome.TIMEOUT: Verdict.TIMEOUT,
        Outcome.OVERRUN: Verdict.OVERRUN,
        Outcome.INVALID: Verdict.INVALID,
    }[failure.result.outcome]
    return Judged(
        number=experiment.number, verdict=verdict, reason=failure.result.reason, crash=failure.result.crash, finding=""
    )


def next_work(state: State, sigma: float, *, only_started: bool = False) -> Iterator[Work]:
    """Yield every measurement that is wanted and not running, the most urgent first.

    Args:
        state: The state of the run.
        sigma: Noise of one measurement, in bpb.
        only_started: Only finish experiments that have begun, for a run that is paused or stopping.
    """
    assert state.config is not None
    if state.start_commit is None:
        return
    first = policy.seed(state.config.seed, 0)
    begun: list[Work | Launched] = list(state.running.values())
    if state.baseline is None:
        baseline = Work(Role.BASELINE, state.start_commit.commit, first)
        if not (only_started or any(map(baseline.is_same, begun))):
            yield baseline
        return
    for number in () if only_started else state.reruns:
        commit = state.experiments[number].commit
        scores, running = state.scores.get(commit, {}), {job.seed for job in begun if job.commit == commit}
        if not any(launched.role == Role.RERUN and launched.number == number for launched in state.running.values()):
            yield Work(Role.RERUN, commit, next(_unused_seeds(state, {*scores, *running})), number)
    fresh: list[Work] = []
    for experiment in state.open.values():
        if not experiment.approved or experiment.number in state.aborted:
            continue
        steps = _steps(state, experiment, sigma)
        if not experiment.launched:
            fresh += steps
            continue
        for step in steps:
            if not any(map(step.is_same, begun)):
                begun.append(step)
                yield step
    if only_started:
        return
    if (
        state.judged_since_incumbent >= REMEASURE_EVERY
        and len(state.scores.get(state.incumbent, {})) < MAX_INCUMBENT_SEEDS
        and not any(launched.commit == state.incumbent for launched in state.running.values())
    ):
        yield _incumbent_remeasurement(state)
    for step in fresh:
        if not any(map(step.is_same, begun)):
            begun.append(step)
            yield step


def _steps(state: State, experiment: Experiment, sigma: float) -> Iterator[Work]:
    """Yield the measurement that an approved experiment needs next, then those that can run beside it in free slots.

    Both scores of a new pair are measured at the same time, and a likely gain on several seeds (`_seeds_at_once`). Until the
    candidate has all these scores, it is not measured on another seed, even if a score of the incumbent changes their order.
    """
    step = assess(state, experiment, sigma)
    if not isinstance(step, Work):
        return
    seeds = [job.seed for job in state.jobs_of(experiment.number) if job.role.of_candidate]
    if not seeds:
        yield step
        if not step.role.of_candidate or step.seed in state.scores.get(experiment.commit, {}):
            return
        seeds = _seeds_at_once(state, experiment, sigma)
        yield from (Work(Role.REPLICATE, experiment.commit, s, experiment.number) for s in seeds if s != step.seed)
    if pairing.has_several_groups(state) or len(state.failed_seeds(experiment.parent)) >= FAILED_SEEDS:
        return  # where the candidate runs decides where the incumbent is measured
    nodes = pairing.nodes_in_groups(state, state.nodes)
    theirs = state.scores.get(experiment.parent, {})
    yield from (Work(Role.INCUMBENT, experiment.parent, s, experiment.number, nodes) for s in seeds if s not in theirs)


def _seeds_at_once(state: State, experiment: Experiment, sigma: float) -> list[int]:
    """Return the seeds of the next pairs that are measured at the same time: one, or more where many slots take turns.

    A change is kept after two to eight pairs. While they follow one another, other slots work on changes to a train.py that
    will soon not be the best. So with k slots up to sqrt(k) pairs are measured at once, but no more than are needed if the
    change gains what it has gained so far. If it has no pair yet, its gain over the parent before counts. The keep rule is
    as strict if it looks less often (`benchmarks/pairs_at_once.py`).
    """
    assert state.config is not None
    candidate, theirs = _paired_scores(state, experiment)
    before = experiment.before if not candidate else None
    known = pairing.paired_scores(state, *before) if before is not None else (candidate, theirs)
    pairs = len(candidate.keys() & theirs.keys())
    count = policy.pairs_at_once(pairs, policy.likely_pairs(*known, sigma), math.isqrt(state.slots))
    seeds = policy.order(theirs, state.config.seed, state.failed_seeds(experiment.parent))
    return [seed for seed in seeds if seed not in candidate][:count]


def _paired_scores(state: State, experiment: Experiment) -> tuple[dict[int, float], dict[int, float]]:
    """Return the scores of a candidate and of its parent that form pairs, or may do so, as seed -> val_bpb."""
    failed = state.failed_seeds(experiment.parent)
    candidate, theirs = pairing.paired_scores(state, experiment.commit, experiment.parent)
    return (
        {seed: score for seed, score in candidate.items() if seed not in failed},
        {seed: score for seed, score in theirs.items() if seed not in failed},
    )


def _incumbent_remeasurement(state: State) -> Work:
    """Return the next measurement of the incumbent on its own: on a new seed, or to compare two nodes of a cluster."""
    if (common := grouping.to_compare(state)) is not None:
        return Work(Role.INCUMBENT, state.incumbent, common.seed, nodes=(common.node,))
    taken = {*state.scores.get(state.incumbent, {}), *state.failed_seeds(state.incumbent)}
    return Work(Role.INCUMBENT, state.incumbent, next(_unused_seeds(state, taken)))


def _unused_seeds(state: State, taken: Collection[int]) -> Iterator[int]:
    """Yield the seeds of the run in order, without those in `taken`."""
    assert state.config is not None
    for index in itertools.count():
        if (seed := policy.seed(state.config.seed, index)) not in taken:
            yield seed
