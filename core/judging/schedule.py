"""Decides which measurement or verdict a run needs next, from its state alone. Pure: no I/O, no clock."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from core.judging import policy
from core.judging.noise import Noise
from core.model import Role
from core.record.events import Judged, Measured
from core.record.experiment import Conditions, Experiment
from core.record.state import State
from core.verdicts import Verdict
from nanochat.contract.job import Outcome

REMEASURE_EVERY = 8  # scored experiments after which the incumbent is measured again
MAX_INCUMBENT_SEEDS = 12  # the incumbent is not measured again beyond this number of scores
DISTURBED_TRIES = 2  # disturbed trainings after which an experiment gets the verdict "disturbed"
CUT_SHORT = 3  # experiments without a result after which a change counts as tried
OF_CANDIDATE = (Role.CANDIDATE, Role.REPLICATE)  # trainings of a candidate, of which one runs at a time
BESIDE = 8  # two measurements at most this number of jobs apart count as made at the same time
MAX_MACHINE_RETRIES = 3  # tries of the baseline or the incumbent on a disturbed machine


@dataclass(frozen=True)
class Work:
    """A measurement that is wanted: a commit, a seed, and the experiment it is for."""

    role: Role
    commit: str
    seed: int
    number: int | None = None


@dataclass(frozen=True)
class Rebase:
    """The incumbent has changed: the experiment's change must be applied to the new one and measured again."""

    number: int


def noise(state: State) -> Noise:
    """Estimate the noise of one measurement from the profile's prior and the repeated measurements of the run."""
    assert state.config is not None
    device = state.config.device
    families: dict[str, dict[int, dict[int, float]]] = {}
    for experiment in state.experiments.values():
        commit, parent = experiment.commit, experiment.parent
        if not (scores := state.scores.get(commit)):
            continue
        here, there = state.conditions.get(commit, {}), state.conditions.get(parent, {})
        lone = [seed for seed in scores if not _can_pair(here.get(seed), there.get(seed), device)]
        paired = {seed: scores[seed] for seed in scores if seed not in lone} if lone else scores
        if paired:
            families.setdefault(parent, {})[id(scores)] = paired  # experiments on one commit count once
    # One version only: others on the same seeds, with mostly the same code, would repeat the same scatter.
    repeats = max((state.scores.get(commit, {}) for commit in state.commits), key=len, default={})
    return Noise.estimate(
        state.config.noise_prior,
        tuple(repeats.values()),
        [(state.scores.get(parent, {}), tuple(found.values())) for parent, found in families.items()],
    )


def _comparable(state: State, experiment: Experiment, seed: int) -> bool:
    """Return whether the scores of a candidate and its parent on a seed can form a pair. A missing score can."""
    assert state.config is not None
    here, there = (state.conditions.get(commit, {}).get(seed) for commit in (experiment.commit, experiment.parent))
    return _can_pair(here, there, state.config.device)


def _can_pair(here: Conditions | None, there: Conditions | None, device: str) -> bool:
    return here is None or there is None or policy.comparable(here, there, device)


def best_confirmed(state: State) -> float | None:
    """Return the lowest mean of the commits on the branch that have two or more scores, else the incumbent's mean."""
    means = [
        sum(scores.values()) / len(scores)
        for commit in state.commits
        if len(scores := state.scores.get(commit, {})) > 1
    ]
    return min(means) if means else state.mean(state.incumbent)


def assess(state: State, experiment: Experiment, sigma: float) -> Work | Rebase | Judged:
    """Return the next step of an approved experiment: measure it, re-apply it to a newer incumbent, or judge it.

    Args:
        state: The state of the run.
        experiment: An approved experiment without a verdict.
        sigma: Noise of one measurement, in bpb.
    """
    assert state.config is not None
    if experiment.failure is not None:
        return _failed(experiment, experiment.failure)
    if experiment.disturbances >= DISTURBED_TRIES:
        return Judged(
            number=experiment.number,
            verdict=Verdict.DISTURBED,
            reason=f"the machine was disturbed during {experiment.disturbances} trainings of this change, so no result counts",
            finding="",
        )
    candidate = state.scores.get(experiment.commit, {})
    stale = experiment.parent != state.incumbent
    if not candidate:
        if stale:
            return Rebase(experiment.number)
        first = policy.order(state.scores.get(experiment.parent, {}), state.config.seed)[0]
        return Work(Role.CANDIDATE, experiment.commit, first, experiment.number)
    if (work := _apart(state, experiment)) is not None:
        return Rebase(experiment.number) if stale else work
    decision = policy.decide(
        candidate,
        state.scores.get(experiment.parent, {}),
        sigma,
        run_seed=state.config.seed,
        nodes_delta=experiment.nodes - _nodes(state, experiment.parent),
        nodes=_nodes(state, experiment.parent),
        best_confirmed=best_confirmed(state),
        ablation=experiment.ablation is not None,
    )
    if decision.action != "discard" and stale:
        return Rebase(experiment.number)
    if decision.action == "measure":
        assert decision.seed is not None
        if decision.who == "incumbent" and state.failures.get(experiment.parent, 0) >= MAX_MACHINE_RETRIES:
            return Judged(
                number=experiment.number,
                verdict=Verdict.DISCARD,
                reason=f"the best train.py failed {MAX_MACHINE_RETRIES} times on the seeds needed to confirm this change",
                finding="",
            )
        if decision.who == "incumbent":
            return Work(Role.INCUMBENT, experiment.parent, decision.seed, experiment.number)
        return Work(Role.REPLICATE, experiment.commit, decision.seed, experiment.number)
    return _judged(experiment, decision, sigma)


def _judged(experiment: Experiment, decision: policy.Decision, sigma: float) -> Judged:
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


def _apart(state: State, experiment: Experiment) -> Work | None:
    """Return what to measure again if the conditions of candidate and incumbent cannot be compared, else None.

    If the incumbent was measured earlier, it is measured again. If it was measured much later, the candidate is.
    """
    if state.failures.get(experiment.parent, 0) >= MAX_MACHINE_RETRIES:
        return None
    ours, theirs = (state.conditions.get(commit, {}) for commit in (experiment.commit, experiment.parent))
    for seed, here in ours.items():
        if _comparable(state, experiment, seed):
            continue
        there = theirs[seed]
        if there.turn < here.turn:
            return Work(Role.INCUMBENT, experiment.parent, seed, experiment.number)
        if there.turn - here.turn > BESIDE:
            return Work(Role.REPLICATE, experiment.commit, seed, experiment.number)
    return None


def unchecked(state: State) -> Iterator[Experiment]:
    """Yield the waiting proposals that have not run yet and were made under another version of program.md."""
    sha = state.charter.sha if state.charter else ""
    for experiment in state.open.values():
        if not experiment.launched and experiment.charter != sha:
            yield experiment


def tried(state: State, parents: Collection[str]) -> dict[str, int]:
    """Return the changes of these parents that must not be proposed again, as fingerprint -> latest experiment.

    A change counts as tried while it waits or runs, when it has a verdict on its idea or its code, and when the human skipped
    it. A change that was interrupted, disturbed or overtaken may be proposed again until CUT_SHORT experiments on it were launched.
    A change that broke a rule may be proposed again if it was never trained or if program.md has changed since. It is checked
    against the present rules anyway.

    Args:
        state: The state of the run.
        parents: Commits with the same train.py.
    """
    sha = state.charter.sha if state.charter else ""
    found: dict[str, int] = {}
    cut_short: Counter[str] = Counter()
    for experiment in state.experiments.values():
        if experiment.parent not in parents:
            continue
        cut_short[experiment.fingerprint] += experiment.launched
        if _counts(experiment, sha) or cut_short[experiment.fingerprint] >= CUT_SHORT:
            found[experiment.fingerprint] = experiment.number
    return found


def _counts(experiment: Experiment, sha: str) -> bool:
    if experiment.verdict is None or experiment.verdict is Verdict.SKIPPED:
        return True
    if experiment.verdict is Verdict.INVALID and experiment.charter != sha:
        return False
    return experiment.launched and not experiment.verdict.may_repeat


def _nodes(state: State, commit: str) -> int:
    if state.start_commit is not None and commit == state.start_commit.commit:
        return state.start_commit.nodes
    return next((e.nodes for n in reversed(state.kept) if (e := state.experiments[n]).commit == commit), 0)


def _failed(experiment: Experiment, failure: Measured) -> Judged:
    verdict = {
        Outcome.CRASH: Verdict.CRASH,
        Outcome.TIMEOUT: Verdict.TIMEOUT,
        Outcome.OVERRUN: Verdict.OVERRUN,
        Outcome.INVALID: Verdict.INVALID,
    }[failure.result.outcome]
    return Judged(
        number=experiment.number, verdict=verdict, reason=failure.result.reason, crash=failure.result.crash, finding=""
    )


def wanted(state: State, sigma: float, *, only_started: bool = False) -> Iterator[Work]:
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
    busy = {(launched.commit, launched.seed) for launched in state.running.values()}
    if state.baseline is None:
        if (state.start_commit.commit, first) not in busy and not only_started:
            yield Work(Role.BASELINE, state.start_commit.commit, first)
        return
    for number in () if only_started else state.reruns:
        commit = state.experiments[number].commit
        scores, running = state.scores.get(commit, {}), {taken for where, taken in busy if where == commit}
        if not any(launched.role == Role.RERUN and launched.number == number for launched in state.running.values()):
            yield Work(Role.RERUN, commit, next(_unused(state, {*scores, *running})), number)
    fresh: list[Work] = []
    measured_now = {launched.number for launched in state.running.values() if launched.role in OF_CANDIDATE}
    for experiment in state.open.values():
        if not experiment.approved:
            continue
        step = assess(state, experiment, sigma)
        if not isinstance(step, Work) or (step.commit, step.seed) in busy:
            continue
        if step.role in OF_CANDIDATE and experiment.number in measured_now:
            continue  # one pair after another, even if a new score of the incumbent changes the order of the seeds
        if step.role == Role.CANDIDATE and not experiment.launched:
            fresh.append(step)
        else:
            busy.add((step.commit, step.seed))
            yield step
    if only_started:
        return
    scores = state.scores.get(state.incumbent, {})
    trouble = state.failures.get(state.incumbent, 0)
    if (
        state.judged_since_incumbent >= REMEASURE_EVERY
        and len(scores) < MAX_INCUMBENT_SEEDS
        and trouble < MAX_MACHINE_RETRIES
    ):
        seed = next(_unused(state, scores))
        if not any(launched.commit == state.incumbent for launched in state.running.values()):
            yield Work(Role.INCUMBENT, state.incumbent, seed)
    yield from fresh


def _unused(state: State, taken: Collection[int]) -> Iterator[int]:
    """Yield the seeds of the run in order, without those in `taken`."""
    assert state.config is not None
    for index in itertools.count():
        if (seed := policy.seed(state.config.seed, index)) not in taken:
            yield seed
