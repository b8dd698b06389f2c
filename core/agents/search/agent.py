"""The agent `search`: no language model. A book of structural edits, the knobs, and a joint model of what both do to the score.

A proposal only depends on the context, so a resumed run continues in the same way.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from itertools import combinations, islice

from msgspec.structs import replace as replace_fields

from core.agents.base import AgentFailed, Context, PastExperiment
from core.agents.search import combine, earlier
from core.agents.search.backlog import backlog_wishes, steps_of
from core.agents.search.drafts import Draft, Knobs, knobs_draft
from core.agents.search.ideas import IDEAS, applied, changes_of
from core.agents.search.options import Options
from core.agents.search.ranges import places, range_for
from core.agents.search.steering import SAID, Steering, setting, steering
from core.change import edits, knobs
from core.change.knobs import Knob
from core.charter import Charter
from core.charter.directions import Kind, NotUsable, described
from core.model import Notes, Proposal, Value
from core.target import TARGET
from core.target.entry import Entry
from core.text import sanitize_line

MAX_DRAFTS = 300  # drafts after which the search gives up
MAX_OF_BACKLOG = 100  # of these, what the backlog may take: its lines may ask for what was tried
# Kinds of wishes that are ignored, step by step, if the wishes leave nothing to try. So a run never lacks experiments.
WITHOUT: tuple[tuple[Kind, ...], ...] = ((), ("only",), ("only", "avoid"))
NOTHING = "search found nothing new that the front matter of program.md allows. Shorten off_limits, or start a new run from another one (--from)."
OVER = "The best has {:,} parameters, more than program.md allows:"
SIZES = ("WIDTH", "DEPTH", "MLP_RATIO")  # the knobs that determine the number of parameters
OPTIMIZERS = ("muon", "adam")
BACKLOG = "from the backlog: "
KINDS = (
    "combination",
    "idea",
    "knob",
)  # what its proposals are in turn. Where a kind has nothing new, another one serves
CLEAR = (
    3.0  # standard deviations of one score from which a step's gain or loss in earlier runs decides when it is tried
)
GAINED = 1.0  # standard deviations of one score from which an idea that gained in earlier runs comes first
WIN = 4.0  # standard deviations of one score that a step gains if train.py does not fit the budget, so similar steps come next
ASKED = 1.5  # what a topic that was asked for counts more, in standard deviations of one score, times the logarithm of its weight


class Search:
    """Prefers kinds of change that have helped, weighted by the wishes in program.md and hints. Never repeats a change."""

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
                return _with_aside_note(self._first_valid_draft(context, charter, wanted), wanted, context)
            except AgentFailed as error:
                failure = error
        raise failure

    def _first_valid_draft(self, context: Context, charter: Charter, wanted: Steering) -> Proposal:
        """Return the first draft that is allowed and was not tried. Raises AgentFailed."""
        chance = random.Random(f"{context.seed}/{context.number}/{len(context.rejections)}")
        left_alone = (*charter.off_limits, *sorted(wanted.leave))
        seen = {*context.tried, context.parent}
        examined: set[str] = set()  # the same draft may come several times
        for draft in islice(_drafts(context, charter, wanted, left_alone, chance), MAX_DRAFTS):
            if draft is None or draft.source in examined:
                continue
            examined.add(draft.source)
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
                    notes=draft.notes,
                )
        raise AgentFailed(NOTHING)


def _with_aside_note(proposal: Proposal, wanted: Steering, context: Context) -> Proposal:
    """Return the proposal with a note about the wishes that were set aside. The first time the hypothesis says so too."""
    if not wanted.aside:
        return proposal
    wishes = "; ".join(described(wanted.aside))
    was_told = any(past.proposal.notes.aside == wishes for past in context.past)
    note = "" if was_told else f" Nothing new was left within “{sanitize_line(wishes, 80)}”, so this goes beyond it."
    notes = replace_fields(proposal.notes, aside=wishes)
    return replace_fields(proposal, hypothesis=proposal.hypothesis + note, notes=notes)


def _drafts(
    context: Context, charter: Charter, wanted: Steering, left_alone: Collection[str], chance: random.Random
) -> Iterator[Draft | None]:
    """Yield ideas without end, the most promising kinds first, with more and more knobs."""
    every = {knob.name: knob for knob in knobs.read(context.source)}
    free = {name: knob for name, knob in every.items() if _may_change(knob, charter, wanted)}
    known = Knobs(free, every)
    if charter.max_params and context.params and context.params > charter.max_params:
        yield from _smaller_models(context, known)  # nothing else passes
        raise AgentFailed(f"search knows no smaller model that was not tried. {OVER.format(context.params)[:-1]}.")
    options = Options(context, known, left_alone, wanted.unwelcome)
    turn = context.proposed.get(Search.name, 0) + 1
    yield from _requested_values(context, wanted, known)
    yield from _requested_steps(context, wanted, known)
    yield from _requested_ideas(context, wanted)
    yield from islice(_backlog_drafts(context, wanted, known, options, chance), MAX_OF_BACKLOG)
    yield _repeated_step(context, known, options)
    yield from _steps_like_a_win(context, wanted, known)
    requested = {topic: weight for topic, weight in wanted.weights.items() if weight >= SAID}
    if requested and turn % 2:  # a hint names a topic
        only_requested = dict.fromkeys(wanted.weights, 0.0) | requested
        for ideas in (True, False):
            yield from _screened_changes(context, only_requested, options, chance, ideas=ideas)
    kind = KINDS[turn % len(KINDS)]
    if kind == "combination":
        yield from combine.combinations(context, wanted.weights, options, chance)
    if kind == "knob":
        yield from _first_steps(context, wanted, known)
    else:
        yield from _ideas_that_gained(context, wanted, options)
    for ideas in (kind != "knob", kind == "knob"):
        yield from _screened_changes(context, wanted.weights, options, chance, ideas=ideas)
    width = 2
    while True:  # change more and more knobs at once
        yield _several_knobs(context, options, chance, min(width, len(known)))
        width += 1


# -- what to try ------------------------------------------------------------------------------------------------------


def _informative_past(context: Context) -> list[PastExperiment]:
    """Return the past experiments without those that were cut short and say nothing about their ideas."""
    return [past for past in context.past if not past.verdict.may_repeat]


def _tried_alone(context: Context) -> set[str]:
    """Return the names of the changes that were tried alone on any train.py, or are now."""
    alone = (changes_of(one) for one in (*_informative_past(context), *context.open))
    return {name for changes in alone if len(changes) == 1 for name in changes}


def _screened_changes(
    context: Context, weights: Mapping[str, float], options: Options, chance: random.Random, *, ideas: bool
) -> Iterator[Draft | None]:
    """Yield single changes, those first that gain most by one draw from the posterior (Thompson sampling).

    Changes of a requested topic count as if they gained more.
    """
    effects = options.model.draw(chance.randrange(2**31), 1.0)
    scored = [
        (gain + ASKED * math.log(weight), option)
        for gain, option in options.screening(effects, ideas=ideas)
        if (weight := weights.get(option.topic, 1.0)) > 0
    ]
    for _, option in sorted(scored, key=lambda pair: -pair[0]):
        if option.value is None:
            yield _book_draft(context, IDEAS[option.name])
        else:
            yield knobs_draft(context, options.known, {option.name: option.value})


def _book_draft(context: Context, entry: Entry) -> Draft | None:
    """Return an idea of the book as a draft, with its source."""
    changed = applied(entry, context.source)
    if changed is None:
        return None
    cited = entry.source and entry.source not in entry.hypothesis
    hypothesis = f"{entry.hypothesis.removesuffix('.')} ({entry.source})." if cited else entry.hypothesis
    return Draft(changed, hypothesis, entry.topic, Notes(edits=(entry.name,), knobs={}))


def _ideas_that_gained(context: Context, wanted: Steering, options: Options) -> Iterator[Draft | None]:
    """Yield the ideas that gained in earlier runs and that were not tried alone yet, the largest gain first.

    There are many ideas that nothing is known about. In a draw from the posterior some of them come before most of what is known to gain.
    """
    tried = _tried_alone(context)
    means = earlier.idea_gains(context)
    possible = {option.name: option for _, option in options.screening(options.model.expected, ideas=True)}
    for name in sorted(means.keys() & possible.keys() - tried, key=lambda name: -means[name]):
        if means[name] >= GAINED and wanted.weights.get(possible[name].topic, 1.0) > 0:
            yield _book_draft(context, IDEAS[name])


def _first_steps(context: Context, wanted: Steering, known: Knobs) -> Iterator[Draft]:
    """Yield a step of each knob that matters much: one step down for sizes, one step up for others.

    The steps in the other direction follow. Leaves out steps that were tried alone on any train.py, that lost clearly in earlier
    runs, or that would undo a kept change. Steps that gained clearly in earlier runs come first.
    """
    informative, before = _informative_past(context), earlier.step_gains(context, known)
    left = {(name, old) for past in informative if past.verdict.kept for name, (old, _) in past.constants.items()}
    tried = _tried_alone(context) | {one.proposal.notes.step for one in (*informative, *context.open)}
    order = sorted(
        (
            name
            for name in TARGET.impacts.keys() & known.keys()
            if TARGET.impacts[name] >= 1 and wanted.weights.get(TARGET.topic_of(name), 1.0) > 0
        ),
        key=lambda name: -TARGET.impacts[name] * wanted.weights.get(TARGET.topic_of(name), 1.0),
    )
    steps: list[tuple[float, Draft]] = []
    for second in (False, True):
        for name in order:
            up = (TARGET.topic_of(name) != "size") is not second
            value, mark = range_for(known[name]).step(known[name].value, up), f"{name} {'up' if up else 'down'}"
            if mark in tried or value is None or (name, value) in left:
                continue
            if draft := knobs_draft(context, known, {name: value}):
                steps.append((before.get(mark, 0.0), replace(draft, notes=replace_fields(draft.notes, step=mark))))
    first = [draft for gain, draft in sorted(steps, key=lambda step: -step[0]) if gain >= CLEAR]
    yield from (*first, *(draft for gain, draft in steps if -CLEAR < gain < CLEAR))


def _steps_like_a_win(context: Context, wanted: Steering, known: Knobs) -> Iterator[Draft]:
    """Yield the first steps that are of the same topic and direction as a kept step that gained much.

    Such a gain says that train.py does not fit the budget: if half the DEPTH gains a lot, so does a smaller WIDTH or SEQ_LEN.
    """
    wins = {
        (past.proposal.topic, past.proposal.notes.step.rpartition(" ")[2])
        for past in context.past
        if past.verdict.kept and past.proposal.notes.step and (past.gain or 0.0) >= WIN * context.sigma
    }
    for draft in _first_steps(context, wanted, known):
        if draft.notes.step and (draft.topic, draft.notes.step.rpartition(" ")[2]) in wins:
            yield draft


def _may_change(knob: Knob, charter: Charter, wanted: Steering) -> bool:
    """Return whether a knob may change. It may not if its topic is to be left alone.

    If that is the optimizer, a knob whose comment begins with one ("AdamW: ...") may not change either.
    """
    if knob.name in charter.off_limits or knob.name in wanted.leave:
        return False
    head, colon, _ = knob.comment.lower().partition(":")
    optimizer = bool(colon) and "optimizer" in wanted.avoided and any(mark in head for mark in OPTIMIZERS)
    return knob.name in wanted.focus or (wanted.weights[TARGET.topic_of(knob.name)] > 0 and not optimizer)


def _requested_values(context: Context, wanted: Steering, known: Knobs) -> Iterator[Draft | None]:
    """Yield the values that the human asked for, each once. Those of the newest hint come first, in its order."""
    followed = _followed_wishes(context)
    everything = Knobs(known.every, known.every)  # a named knob may change even if its topic is to be left alone
    for number, direction in sorted(wanted.settings, key=lambda pair: -pair[0]):
        mark = f"{number}: {direction.words}"
        if mark in followed or number in followed:  # an earlier version noted the number alone
            continue
        try:
            values = setting(direction, context.source)
        except NotUsable:
            continue
        if draft := knobs_draft(context, everything, values, "asked for: "):
            yield replace(draft, notes=replace_fields(draft.notes, said=mark))


def _requested_steps(context: Context, wanted: Steering, known: Knobs) -> Iterator[Draft | None]:
    """Yield one step in each direction for the names that program.md or the human asks for, once for each wish."""
    followed = _followed_wishes(context)
    everything = Knobs(known.every, known.every)
    for way in ("up", "down"):
        for name, (wish, number) in wanted.focus.items():
            mark = f"{number}: {name} {way}"
            if name not in known or wish not in ("", way) or mark in followed:
                continue
            for value in places(known[name], way == "up"):
                if draft := knobs_draft(context, everything, {name: value}, "asked for: "):
                    yield replace(draft, notes=replace_fields(draft.notes, step=f"{name} {way}", said=mark))


def _requested_ideas(context: Context, wanted: Steering) -> Iterator[Draft | None]:
    """Yield the ideas of the book that program.md or the human asks for, once for each wish."""
    followed = _followed_wishes(context)
    for name, number in wanted.ideas.items():
        mark = f"{number}: {name}"
        if mark not in followed and (draft := _book_draft(context, IDEAS[name])):
            yield replace(draft, notes=replace_fields(draft.notes, said=mark))


def _backlog_drafts(
    context: Context, wanted: Steering, known: Knobs, options: Options, chance: random.Random
) -> Iterator[Draft | None]:
    """Yield what the ideas of the backlog ask for, from the top. Skips ideas that are not wishes of a known form."""
    everything = Knobs(known.every, known.every)
    for idea, direction in backlog_wishes(context):
        changes: list[tuple[str, Draft | None]] = []
        if direction.kind == "set":
            with contextlib.suppress(NotUsable):
                changes.append(("", knobs_draft(context, everything, setting(direction, context.source), BACKLOG)))
        for name, way, value in steps_of(direction, known):
            changes.append((f"{name} {way}", knobs_draft(context, everything, {name: value}, BACKLOG)))
        if direction.kind == "try":
            changes += [("", _book_draft(context, IDEAS[name])) for name in direction.ideas]
        if direction.kind == "try" and direction.topics:
            weights = dict.fromkeys(wanted.weights, 0.0) | dict.fromkeys(direction.topics, 1.0)
            for ideas in (True, False):
                changes += [("", draft) for draft in _screened_changes(context, weights, options, chance, ideas=ideas)]
        for step, draft in changes:
            if draft is not None:
                yield replace(draft, notes=replace_fields(draft.notes, step=step, follows=idea))


def _followed_wishes(context: Context) -> set[str | int | None]:
    """Return the marks of the wishes that were followed, or that an open experiment follows."""
    return {one.proposal.notes.said for one in (*_informative_past(context), *context.open)}


def _smaller_models(context: Context, known: Knobs) -> Iterator[Draft | None]:
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


def _repeated_step(context: Context, known: Knobs, options: Options) -> Draft | None:
    """Return the step of the last kept experiment again: if one step in a direction helped, the next one often does.

    The knobs of a combination already have the values that the model expects to be best. Of these, only knobs are moved that
    the model expects to gain more.
    """
    last = next((past for past in reversed(context.past) if past.verdict.kept), None)
    if last is None or last.fingerprint != context.parent:
        return None
    notes = last.proposal.notes
    before, after = notes.before or {}, notes.knobs or {}
    values = {
        name: value
        for name in sorted(before.keys() & after.keys() & known.keys())
        if (value := range_for(known[name]).further(before[name], after[name])) is not None
        and (notes.expected is None or options.model.expected.gain(options.change({name: value})) > 0)
    }
    draft = knobs_draft(context, known, values) if values else None
    if draft is None:
        return None
    moves = [options.move(name, value) for name, value in (draft.notes.knobs or {}).items()]
    return replace(draft, hypothesis=f"One more step in the same direction: {', '.join(moves)}.")


def _several_knobs(context: Context, options: Options, chance: random.Random, width: int) -> Draft | None:
    """Change several knobs, each to where a draw from the model gains most. Knobs that were seldom tried come first."""
    known = options.known
    tried = Counter(name for past in _informative_past(context) for name in past.constants)
    order = sorted(
        options.active,
        key=lambda name: chance.random() ** ((1 + tried[name]) / TARGET.impacts.get(name, 1.0)),
        reverse=True,
    )  # weighted draw without replacement (Efraimidis and Spirakis 2006)
    drawn = {name: options.value(name, chance) for name in order[:width]}
    return knobs_draft(context, known, {name: value for name, value in drawn.items() if value is not None})
