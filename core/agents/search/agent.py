"""The agent `search`: no language model. A book of structural edits, the knobs, and a joint model of what both do to the score.

A proposal only depends on the context, so a resumed run continues in the same way.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, islice

from msgspec.structs import replace as replace_fields

from core.agents.base import AgentFailed, Context, PastExperiment
from core.agents.search import combine
from core.agents.search.drafts import Draft, Knobs, knobs_draft
from core.agents.search.ranges import places, range_for
from core.agents.search.steering import Steering, setting, steering
from core.change import edits, knobs
from core.change.knobs import Knob
from core.charter import Charter
from core.charter.directions import Kind, NotUsable, described
from core.model import Proposal, Value
from core.target import TARGET
from core.text import sanitize_line
from core.verdicts import Verdict

TRIES = 60  # drafts by topic before the search widens
MAX_DRAFTS = 150  # drafts after which the search gives up
# Kinds of wishes that are ignored, step by step, if the wishes leave nothing to try. So a run never lacks experiments.
WITHOUT: tuple[tuple[Kind, ...], ...] = ((), ("only",), ("only", "avoid"))
NOTHING = "search found nothing new that the front matter of program.md allows; shorten off_limits, or start from another best."
OVER = "The best has {:,} parameters, more than program.md allows:"
SIZES = ("WIDTH", "DEPTH", "MLP_RATIO")  # the knobs that determine the number of parameters
EXPLORE = 1.0  # weight of the uncertainty bonus, in units of the noise
OPTIMIZERS = ("muon", "adam")
COMBINE_EVERY = 3  # one in this many proposals is a combination, if the model expects one to help


class Search:
    """Prefers kinds of change that have paid off, weighted by the wishes in program.md and hints. Never repeats a change."""

    name = "search"

    async def propose(self, context: Context) -> Proposal:
        """Return a new change to the incumbent. When all small changes were tried, it changes more knobs at once.

        Raises:
            AgentFailed: The limits of program.md leave nothing to change.
        """
        return await asyncio.to_thread(self.propose_now, context)

    async def release(self) -> None:
        pass

    def propose_now(self, context: Context) -> Proposal:
        given, failure = None, AgentFailed(NOTHING)
        for without in WITHOUT:
            charter, wanted = steering(context, without)
            if wanted.aside == given:
                continue
            given = wanted.aside
            try:
                return _beyond(self._first(context, charter, wanted), wanted, context)
            except AgentFailed as error:
                failure = error
        raise failure

    def _first(self, context: Context, charter: Charter, wanted: Steering) -> Proposal:
        """Return the first draft that is allowed and was not tried. Raises AgentFailed."""
        chance = random.Random(f"{context.seed}/{context.number}/{len(context.rejections)}")
        left_alone = (*charter.off_limits, *sorted(wanted.leave))
        seen = {*context.tried, context.parent}
        looked_at: set[str] = set()  # the same draft may come several times
        for draft in islice(_drafts(context, charter, wanted, chance), MAX_DRAFTS):
            if draft is None or draft.source in looked_at:
                continue
            looked_at.add(draft.source)
            try:
                edits.validate_change(context.source, draft.source, off_limits=left_alone)
            except edits.EditError:
                continue
            if edits.fingerprint(draft.source) not in seen:
                return Proposal(
                    hypothesis=draft.hypothesis,
                    source=draft.source,
                    agent=self.name,
                    topic=draft.topic,
                    meta=draft.meta,
                )
        raise AgentFailed(NOTHING)


def _beyond(proposal: Proposal, wanted: Steering, context: Context) -> Proposal:
    """Return the proposal with a note about the wishes that were set aside. The first time the hypothesis says so too."""
    if not wanted.aside:
        return proposal
    words = "; ".join(described(wanted.aside))
    told = any(past.proposal.meta.get("aside") == words for past in context.past)
    note = "" if told else f" Nothing new was left within “{sanitize_line(words, 80)}”, so this goes beyond it."
    return replace_fields(proposal, hypothesis=proposal.hypothesis + note, meta={**proposal.meta, "aside": words})


def _drafts(context: Context, charter: Charter, wanted: Steering, chance: random.Random) -> Iterator[Draft | None]:
    """Yield ideas without end, the most promising kinds first, with more and more knobs."""
    every = {knob.name: knob for knob in knobs.read(context.source)}
    free = {name: knob for name, knob in every.items() if _free(knob, charter, wanted)}
    known = Knobs(free, every)
    if charter.max_params and context.params and context.params > charter.max_params:
        yield from _shrunk(context, known)  # nothing else passes
        raise AgentFailed(f"search knows no smaller model that was not tried. {OVER.format(context.params)[:-1]}.")
    joint = combine.Joint(context, known)
    yield from _settings(context, wanted, known)
    yield from _wanted(context, wanted, known)
    yield _further(context, known)
    if context.number % COMBINE_EVERY == 0:
        yield from combine.combinations(context, wanted.weights, joint, chance)
    if context.number % 2:
        yield _opening(context, wanted, known)
    for arm, topic in islice(_ranked(context, wanted, known, chance), TRIES):
        yield _structural(context, topic, chance) if arm == "book" else _tune(context, joint, topic, chance, 0)
    width = 2
    while True:  # change more and more knobs at once
        yield _tune(context, joint, None, chance, min(width, len(known)))
        width += 1


# -- what to try ------------------------------------------------------------------------------------------------------


def _said_something(context: Context) -> list[PastExperiment]:
    """Return the past experiments without those that were cut short and say nothing about their ideas."""
    return [past for past in context.past if not past.verdict.may_repeat]


def _kinds(past: PastExperiment) -> tuple[str, str]:
    return ("book" if past.proposal.meta.get("edits") else "knob", past.proposal.topic)


def _ranked(context: Context, wanted: Steering, known: Knobs, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Yield kinds of change without end, drawn by an upper confidence bound on their gain times the topic's weight.

    The bound is UCB1 (Auer et al. 2002). Each draw is new, so that others get a turn when a kind has no ideas left.
    """
    pay: dict[tuple[str, str], list[float]] = {}
    for past in _said_something(context):
        if combine.EXPECTED in past.proposal.meta:
            continue  # a combination has several kinds
        gain = past.gain if past.gain is not None else -2 * context.sigma
        pay.setdefault(_kinds(past), []).append(max(-2.0, min(5.0, gain / context.sigma)))
    arms = {("book", entry.topic) for entry in TARGET.book} | {("knob", TARGET.topic_of(name)) for name in known}
    weights = {arm: weight for arm in sorted(arms) if (weight := wanted.weights.get(arm[1], 1.0)) > 0}
    total = 1 + len(context.past)
    while weights:
        scores = {}
        for arm, weight in weights.items():
            found = pay.get(arm, [])
            mean = sum(found) / (len(found) + 1)
            bound = mean + EXPLORE * math.sqrt(2 * math.log(total + 1) / (len(found) + 1)) + 3
            scores[arm] = weight * max(0.05, bound) * -math.log(1 - chance.random())  # an exponential race
        yield max(scores, key=lambda arm: scores[arm])


def _structural(context: Context, topic: str, chance: random.Random) -> Draft | None:
    """Return an idea of the book on that topic that still applies. Ideas that crashed or were skipped are left out."""
    unwanted = [past for past in context.past if past.crash or past.verdict is Verdict.SKIPPED]
    # In a combination, any of the changes may be to blame.
    alone = [past for past in unwanted if combine.EXPECTED not in past.proposal.meta]
    left_out = {name for past in alone for name in past.proposal.meta.get("edits", [])}
    entries = [entry for entry in TARGET.book if entry.topic == topic and entry.name not in left_out]
    if not entries:
        return None
    entry = chance.choice(entries)
    changed = edits.try_apply(context.source, entry.edits)
    if changed is None:
        return None
    cited = entry.source and entry.source not in entry.hypothesis
    words = f"{entry.hypothesis.removesuffix('.')} ({entry.source})." if cited else entry.hypothesis
    return Draft(changed, words, entry.topic, {"edits": [entry.name], "knobs": {}})


def _opening(context: Context, wanted: Steering, known: Knobs) -> Draft | None:
    """Return the next step of a knob that matters much: one step down for sizes, one step up for others.

    When all of these were tried, the steps in the other direction follow.
    """
    tried = {past.proposal.meta.get("step") for past in _said_something(context)}
    order = sorted(
        (
            name
            for name in TARGET.impacts.keys() & known.keys()
            if TARGET.impacts[name] >= 1 and wanted.weights.get(TARGET.topic_of(name), 1.0) > 0
        ),
        key=lambda name: -TARGET.impacts[name] * wanted.weights.get(TARGET.topic_of(name), 1.0),
    )
    for second in (False, True):
        for name in order:
            up = (TARGET.topic_of(name) != "size") is not second
            value, mark = range_for(known[name]).step(known[name].value, up), f"{name} {'up' if up else 'down'}"
            if mark in tried or value is None:
                continue
            if draft := knobs_draft(context, known, {name: value}):
                return replace(draft, meta={**draft.meta, "step": mark})
    return None


def _free(knob: Knob, charter: Charter, wanted: Steering) -> bool:
    """Return whether a knob may change. It may not if its topic is to be left alone.

    If that is the optimizer, a knob whose comment begins with one ("AdamW: ...") may not change either.
    """
    if knob.name in charter.off_limits or knob.name in wanted.leave:
        return False
    head, colon, _ = knob.comment.lower().partition(":")
    optimizer = bool(colon) and "optimizer" in wanted.avoided and any(mark in head for mark in OPTIMIZERS)
    return knob.name in wanted.focus or (wanted.weights[TARGET.topic_of(knob.name)] > 0 and not optimizer)


def _settings(context: Context, wanted: Steering, known: Knobs) -> Iterator[Draft | None]:
    """Yield the values that the human asked for, each once. Those of the newest hint come first, in its order."""
    done = _done(context)
    everything = Knobs(known.every, known.every)  # a named knob may change even if its topic is to be left alone
    for number, direction in sorted(wanted.settings, key=lambda one: -one[0]):
        mark = f"{number}: {direction.words}"
        if mark in done or number in done:  # an earlier version noted the number alone
            continue
        try:
            values = setting(direction, context.source)
        except NotUsable:
            continue
        if draft := knobs_draft(context, everything, values, "asked for: "):
            yield replace(draft, meta={**draft.meta, "said": mark})


def _wanted(context: Context, wanted: Steering, known: Knobs) -> Iterator[Draft | None]:
    """Yield one step in each direction for the names that program.md or the human asks for, once for each wish."""
    done = _done(context)
    everything = Knobs(known.every, known.every)
    for way in ("up", "down"):
        for name, (wish, number) in wanted.focus.items():
            mark = f"{number}: {name} {way}"
            if name not in known or wish not in ("", way) or mark in done:
                continue
            for value in places(known[name], way == "up"):
                if draft := knobs_draft(context, everything, {name: value}, "asked for: "):
                    yield replace(draft, meta={**draft.meta, "step": f"{name} {way}", "said": mark})


def _done(context: Context) -> set[object]:
    """Return the marks of the wishes that were followed."""
    return {past.proposal.meta.get("said") for past in _said_something(context)}


def _shrunk(context: Context, known: Knobs) -> Iterator[Draft | None]:
    """Yield smaller and smaller models, by halving the knobs in SIZES."""
    present = known.values_now
    sizes = [name for name in SIZES if name in known and isinstance(present[name], int) and int(present[name]) > 1]
    for halvings in range(1, 5):
        for count in range(1, len(sizes) + 1):
            for names in combinations(sizes, count):
                values: dict[str, Value] = {name: max(1, int(present[name]) >> halvings) for name in names}
                head, width = present.get("HEAD_DIM"), values.get("WIDTH")
                if isinstance(head, int) and isinstance(width, int) and head > width:
                    values["HEAD_DIM"] = width
                yield knobs_draft(context, known, values, f"{OVER.format(context.params)} ")


def _further(context: Context, known: Knobs) -> Draft | None:
    """Return the step of the last kept experiment again: if one step in a direction helped, the next one often does."""
    last = next((past for past in reversed(context.past) if past.verdict.kept), None)
    if last is None or last.fingerprint != context.parent:
        return None
    before, after = last.proposal.meta.get("from", {}), last.proposal.meta.get("knobs", {})
    values = {
        name: value
        for name in before.keys() & after.keys() & known.keys()
        if (value := range_for(known[name]).further(before[name], after[name])) is not None
    }
    return (
        knobs_draft(context, known, values, f"#{last.number} was kept, so one more step that way: ") if values else None
    )


def _tune(context: Context, joint: combine.Joint, topic: str | None, chance: random.Random, width: int) -> Draft | None:
    """Change one to three knobs (or `width`): far for the first try of a knob, then to where a draw from the model gains most."""
    known = joint.known
    names = [name for name in joint.active if topic is None or TARGET.topic_of(name) == topic]
    if not names:
        return None
    count = min(len(names), width or chance.choice((1, 1, 1, 2, 3)))
    tried = Counter(name for past in _said_something(context) for name in past.proposal.meta.get("knobs", {}))
    order = sorted(
        names, key=lambda name: chance.random() ** ((1 + tried[name]) / TARGET.impacts.get(name, 1.0)), reverse=True
    )
    chosen = order[:count]  # weighted draw without replacement (Efraimidis and Spirakis 2006)
    values: dict[str, Value]
    if count == 1 and not tried[chosen[0]]:
        values = {chosen[0]: range_for(known[chosen[0]]).at(chance.choice((0.15, 0.85)))}  # a large step
    else:
        drawn = {name: joint.value(name, chance) for name in chosen}
        values = {name: value for name, value in drawn.items() if value is not None}
    return knobs_draft(context, known, values)
