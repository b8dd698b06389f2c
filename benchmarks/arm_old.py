"""The policy of the agent `search` before it had a joint model, for simulated nights.

One change at a time, with strict turns: every second proposal is the next step of a knob that matters, each fifth puts two near
misses on the present best together, and the others are of a kind drawn by its pay-off so far (UCB1: Auer et al., 2002): an idea of
the book on a topic, or one to three knobs of a topic. A knob's first value is random, and the next ones are those of TPE with a
random start. Nothing is expected of changes together, and near misses are forgotten at each keep. Wishes and limits of program.md are
left out. Its ideas are those of the present book.
"""

from __future__ import annotations

import math
import random
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import optuna
from arms import distribution
from msgspec.structs import replace
from panel_design import Single, together
from simulated import Night

from core.agents.base import AgentFailed, Context, PastExperiment
from core.agents.search.ideas import IDEAS
from core.agents.search.ranges import Range, range_for
from core.change import edits, knobs
from core.change.knobs import Knob
from core.model import Proposal, Value
from core.target import TARGET

DRAFTS, KINDS_DRAWN = 150, 60  # drafts that are looked at; of these, single changes of a drawn kind
COMBINE_EVERY = 5
NEAREST = 6  # near misses that are put together in pairs
STARTUP = 6  # experiments before TPE uses its model
FAILED = -2.0  # what a failed change counts for its kind, in standard deviations of one score
CLIPPED = (-2.0, 5.0)  # what any change counts, likewise
FAILED_VALUE = -3.0  # what TPE is told of a value that failed, likewise


class Old:
    """The policy. Its proposals depend on the context only."""

    def propose_now(self, context: Context) -> Proposal:
        """Return the first draft that was not tried. Raises AgentFailed."""
        seen = {*context.tried, context.parent}
        for draft in islice(_drafts(context), DRAFTS):
            if draft is not None and draft.source is not None and edits.fingerprint(draft.source) not in seen:
                return draft
        raise AgentFailed("Nothing new was found.")


def old(night: Night) -> None:
    """The arm `old`."""
    agent = Old()
    while True:
        night.try_out(agent.propose_now(night.context()))


def _drafts(context: Context) -> Iterator[Proposal | None]:
    chance = random.Random(f"{context.seed}/{context.number}")
    every = {knob.name: knob for knob in knobs.read(context.source)}
    yield _further(context, every)
    if context.number % COMBINE_EVERY == 0:
        yield from _pairs(context, chance)
    if context.number % 2:
        yield _opening(context, every)
    for kind, topic in islice(_kinds(context, every, chance), KINDS_DRAWN):
        yield _idea(context, topic, chance) if kind == "book" else _tune(context, every, topic, chance, 0)
    width = 2
    while True:
        yield _tune(context, every, None, chance, min(width, len(every)))
        width += 1


def _further(context: Context, every: dict[str, Knob]) -> Proposal | None:
    """Return the step of the last keep once more."""
    last = next((past for past in reversed(context.past) if past.verdict.kept), None)
    if last is None or last.fingerprint != context.parent:
        return None
    before, after = last.proposal.notes.before or {}, last.proposal.notes.knobs or {}
    names = sorted(before.keys() & after.keys() & every.keys())
    return _set(context, {name: range_for(every[name]).further(before[name], after[name]) for name in names})


def _opening(context: Context, every: dict[str, Knob]) -> Proposal | None:
    """Return the next step of a knob with an impact of 1 or more: sizes down first, others up first, then the other way."""
    tried = {past.proposal.notes.step for past in context.past}
    order = sorted((name for name, impact in TARGET.impacts.items() if impact >= 1 and name in every), key=_impact)
    for second in (False, True):
        for name in order:
            up = (TARGET.topic_of(name) != "size") is not second
            mark = f"{name} {'up' if up else 'down'}"
            if mark not in tried and (
                found := _set(context, {name: range_for(every[name]).step(every[name].value, up)})
            ):
                return replace(found, notes=replace(found.notes, step=mark))
    return None


def _impact(name: str) -> float:
    return -TARGET.impacts[name]


def _pairs(context: Context, chance: random.Random) -> Iterator[Proposal | None]:
    """Yield pairs of near misses on the present best in random order."""
    near = [past for past in context.past if past.parent == context.parent and _near(past)]
    near = sorted(near, key=lambda past: -(past.gain or 0.0))[:NEAREST]
    pairs = [(one, other) for index, one in enumerate(near) for other in near[index + 1 :]]
    chance.shuffle(pairs)
    for one, other in pairs:
        values = (one.proposal.notes.knobs or {}) | (other.proposal.notes.knobs or {})
        names = [*(one.proposal.notes.edits or ()), *(other.proposal.notes.edits or ())]
        singles = [*map(Single, names), *(Single(name, value) for name, value in values.items())]
        if found := together(context.source, singles):
            parts: list[Value | None] = [one.number, other.number]
            yield replace(
                found, topic=one.proposal.topic, notes=replace(found.notes, before=None, own={"parts": parts})
            )


def _near(past: PastExperiment) -> bool:
    return (past.gain or 0.0) > 0 and not past.verdict.kept and not past.proposal.notes.own


def _kinds(context: Context, every: dict[str, Knob], chance: random.Random) -> Iterator[tuple[str, str]]:
    """Draw kinds of changes with topics by their upper confidence bounds, without end."""
    pay: dict[tuple[str, str], list[float]] = {}
    for past in context.past:
        gain = FAILED if past.gain is None else past.gain / context.sigma
        kind = "book" if past.proposal.notes.edits else "knob"
        pay.setdefault((kind, past.proposal.topic), []).append(max(CLIPPED[0], min(CLIPPED[1], gain)))
    kinds = sorted(
        {("book", entry.topic) for entry in IDEAS.values()} | {("knob", TARGET.topic_of(name)) for name in every}
    )
    total = 1 + len(context.past)
    while True:
        scores = {}
        for kind in kinds:
            count = len(found := pay.get(kind, [])) + 1
            bound = sum(found) / count + math.sqrt(2 * math.log(total + 1) / count) + 3
            scores[kind] = max(0.05, bound) * -math.log(1 - chance.random())
        yield max(scores, key=lambda kind: scores[kind])


def _idea(context: Context, topic: str, chance: random.Random) -> Proposal | None:
    """Return a random idea of the book on a topic, without those that failed."""
    failed = {name for past in context.past if past.crash for name in past.proposal.notes.edits or ()}
    names = [name for name, entry in IDEAS.items() if entry.topic == topic and name not in failed]
    found = together(context.source, [Single(chance.choice(names))]) if names else None
    return replace(found, topic=topic) if found else None


def _tune(
    context: Context, every: dict[str, Knob], topic: str | None, chance: random.Random, width: int
) -> Proposal | None:
    """Move one to three knobs of a topic, or `width` knobs of all. Those that were seldom tried come first."""
    active = sorted(every.keys() - TARGET.inactive_knobs({name: knob.value for name, knob in every.items()}))
    names = [name for name in active if topic is None or TARGET.topic_of(name) == topic]
    tried = Counter(name for past in context.past for name in past.proposal.notes.knobs or {})
    weight = {name: (1 + tried[name]) / TARGET.impacts.get(name, 1.0) for name in names}
    order = sorted(names, key=lambda name: chance.random() ** weight[name], reverse=True)
    ranges = {name: range_for(every[name]) for name in order[: width or chance.choice((1, 1, 1, 2, 3))]}
    if not ranges:
        return None
    if len(ranges) == 1 and not tried[order[0]]:
        return _set(context, {name: found.at(chance.choice((0.15, 0.85))) for name, found in ranges.items()})
    return _set(context, _asked(context, ranges, chance))


def _asked(context: Context, ranges: dict[str, Range], chance: random.Random) -> dict[str, Value]:
    """Return values by TPE from the gains of all changes of these knobs, whatever they were gains over."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.TPESampler(seed=chance.randrange(2**31), n_startup_trials=STARTUP, constant_liar=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    space = {name: distribution(found) for name, found in ranges.items()}
    for past in context.past:
        moved = {name: value for name, value in (past.proposal.notes.knobs or {}).items() if name in ranges}
        params = {name: ranges[name].encode(value) for name, value in moved.items()}
        fits = {name: place for name, place in params.items() if ranges[name].contains(place)}
        if fits:
            gain = FAILED_VALUE * context.sigma if past.gain is None else past.gain
            some = {name: space[name] for name in fits}
            study.add_trial(optuna.trial.create_trial(params=fits, distributions=some, value=gain))
    trial = study.ask(space)
    return {name: found.decode(trial.params[name]) for name, found in ranges.items()}


def _set(context: Context, values: dict[str, Value | None]) -> Proposal | None:
    """Return the proposal that sets these knobs, without those that have no such value."""
    singles = [Single(name, value) for name, value in values.items() if value is not None]
    found = together(context.source, singles)
    return replace(found, topic=TARGET.topic_of(next(iter(found.notes.knobs or {})))) if found else None
