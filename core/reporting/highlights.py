"""The experiments that matter in the morning: what was kept, what nearly was, what hurt, and which topics were tried. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from core.judging import final_check, gain
from core.judging.final_check import Step
from core.record.experiment import Experiment
from core.record.state import State
from core.reporting import phrases
from core.reporting.changes import LINE, joined, parts, topic
from core.reporting.phrases import one_line, verdict
from core.target import TARGET
from core.verdicts import Verdict
from nanochat.contract.value import Data

MOST = 5  # of near misses, and of the changes that hurt most


class Afresh(Data, frozen=True, kw_only=True):
    """A kept change on fresh seeds, against the best before it.

    Attributes:
        change: Mean paired difference on the test split, in bpb; negative is better.
        error: Standard error of `change`, in bpb.
        seeds: Number of fresh seeds.
        wanted: The same when the check is complete.
        holds: Whether it is better by more than the noise, or simpler and not clearly worse; false before the check is complete.
    """

    change: float
    error: float
    seeds: int
    wanted: int
    holds: bool


class Highlight(Data, frozen=True, kw_only=True):
    """An experiment.

    Attributes:
        number: Its number.
        name: What it changes, in at most 72 characters.
        parts: Each of its changes, in a few words. A combination has several.
        hypothesis: The hypothesis.
        outcome: Its verdict as people read it.
        change: The change of its score against its parent on the scale of the run, in bpb; negative is better. None without a pair.
            The changes of all kept experiments add up to the gain of the run.
        error: The standard error of `change`, in bpb.
        pairs: The number of pairs with the parent that it is the mean of; 0 if it comes from comparisons with the start.
        val_bpb: Its score on the scale of the run, see `core.judging.gain`.
        agent: Who proposed it.
        commit: Its commit.
        added, removed: Lines of its change.
        afresh: The same change on fresh seeds, if it was kept and measured so; else None.
    """

    number: int
    name: str
    parts: tuple[str, ...]
    hypothesis: str
    outcome: str
    change: float | None
    error: float | None
    pairs: int
    val_bpb: float | None
    agent: str
    commit: str
    added: int
    removed: int
    afresh: Afresh | None = None

    @property
    def full_name(self) -> str:
        """The name with all changes of a combination, however long it is."""
        return ", ".join(self.parts) if len(self.parts) > 1 else self.name

    def named(self, room: int) -> str:
        """Return the name in at most `room` characters. Changes that do not fit are counted."""
        return joined(self.parts, room)

    @property
    def change_words(self) -> str:
        """The change with its standard error, as text; "" without a pair."""
        return phrases.change(self.change, self.error) if self.change is not None else ""


class Topic(Data, frozen=True, kw_only=True):
    """How often a topic of the target was tried and kept. The topic of everything else is ""."""

    name: str
    tried: int
    kept: int


def kept(state: State, sigma: float) -> tuple[Highlight, ...]:
    """Return the kept changes in order. `sigma`: noise of one score, in bpb."""
    return _highlights(state, sigma, (state.experiments[number] for number in state.kept))


def near_misses(state: State, sigma: float) -> tuple[Highlight, ...]:
    """Return the largest gains within the noise that are at least their standard error, the largest first."""
    scale, candidates = gain.Scale(state), []
    for e in state.experiments.values():
        change = scale.change(e) if _by_rule(e) and e.within_noise else None
        if change is not None and -change > (scale.error(e, sigma) or 0.0):
            candidates.append((change, e))
    return _highlights(state, sigma, _least(candidates))


def hurt(state: State, sigma: float) -> tuple[Highlight, ...]:
    """Return the largest losses that were beyond the noise, the largest first. The loss of an ablation is a change's worth."""
    scale, candidates = gain.Scale(state), []
    for e in state.experiments.values():
        counts = _by_rule(e) and not e.within_noise and e.ablation is None
        change = scale.change(e) if counts else None
        if change is not None and TARGET.gain(change) < 0:
            candidates.append((TARGET.gain(change), e))
    return _highlights(state, sigma, _least(candidates))


def topics(state: State) -> tuple[Topic, ...]:
    """Return the topics that were tried, the most frequent first."""
    tried: Counter[str] = Counter()
    won: Counter[str] = Counter()
    for e in state.experiments.values():
        if e.verdict is not None and e.verdict.tried:
            name = topic(e)
            tried[name] += 1
            won[name] += e.verdict.kept
    return tuple(Topic(name=name, tried=count, kept=won[name]) for name, count in tried.most_common())


def untried(state: State) -> tuple[str, ...]:
    """Return the topics of the target that no experiment was about, and that no hypothesis of one that was tried names.

    An experiment counts for one topic, but a learning rate of the embeddings, say, is about those too.
    """
    tried = [e for e in state.experiments.values() if e.verdict is not None and e.verdict.tried]
    about, hypotheses = {topic(e) for e in tried}, "\n".join(e.hypothesis.casefold() for e in tried)
    return tuple(
        name
        for name, others in TARGET.topics.items()
        if name not in about and not any(_named(words, hypotheses) for words in (name, *others))
    )


def _named(words: str, text: str) -> bool:
    """Return whether a text has these words. The first test is quick, and rules out most long texts."""
    return words in text and re.search(rf"\b{re.escape(words)}\b", text) is not None


def judged(state: State, sigma: float) -> tuple[Highlight, ...]:
    """Return all experiments with a verdict, in order. `sigma`: noise of one score, in bpb."""
    return _highlights(state, sigma, (e for e in state.experiments.values() if e.verdict is not None))


def _by_rule(e: Experiment) -> bool:
    """Return whether the keep rule, and not a human, has discarded it."""
    return e.verdict is Verdict.DISCARD and e.by != "human"


def _least(candidates: Iterable[tuple[float, Experiment]]) -> list[Experiment]:
    """Return the experiments with the smallest figures, the smallest first."""
    return [e for _, e in sorted(candidates, key=lambda one: one[0])[:MOST]]


def _highlights(state: State, sigma: float, experiments: Iterable[Experiment]) -> tuple[Highlight, ...]:
    scale, fresh = gain.Scale(state), final_check.steps(state, sigma)
    return tuple(
        Highlight(
            number=e.number,
            name=joined(names, LINE),
            parts=names,
            hypothesis=one_line(e.hypothesis, 400),
            outcome=verdict(e),
            change=scale.change(e),
            error=scale.error(e, sigma),
            pairs=scale.pairs(e),
            val_bpb=scale.of(e),
            agent=one_line(e.agent),
            commit=e.commit,
            added=e.added,
            removed=e.removed,
            afresh=_afresh(fresh.get(e.number)),
        )
        for e, names in ((e, parts(e)) for e in experiments)
    )


def _afresh(step: Step | None) -> Afresh | None:
    if step is None:
        return None
    return Afresh(change=step.change, error=step.error, seeds=step.seeds, wanted=step.wanted, holds=step.holds)
