"""Combinations: several changes at once that the joint model expects to help, from what was scored so far. Pure.

A near miss is inconclusive alone. Several near misses together are often large enough for the keep rule.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping

from core.agents.base import Context
from core.agents.search.drafts import Draft, settable
from core.agents.search.ideas import IDEAS, applied, changes_of, knob_change, unwanted_together
from core.agents.search.options import Option, Options
from core.change import knobs
from core.model import Notes, Part, Value

MOST = 4  # changes in one combination: with more, a single wrong one spoils it too often
SHARE = 0.3  # of the posterior's spread in a draw
DRAWS = 6
LEAST_GAIN = 1.5  # expected gain in standard deviations of one score; smaller gains are hardly ever kept
SHARED = 1  # changes that a combination may have in common with one that is being measured
LEAST_ROWS = 6  # scored experiments before the first combination


def combinations(
    context: Context, weights: Mapping[str, float], options: Options, chance: random.Random
) -> Iterator[Draft]:
    """Yield combinations that the model expects to help, one for each of several draws. It leaves out those that are like an open one."""
    if options.record.scored < LEAST_ROWS:
        return
    failed = unwanted_together(context)
    being_measured = [changes_of(one) for one in context.open]
    for _ in range(DRAWS):
        effects = options.model.draw(chance.randrange(2**31), SHARE)
        draft = _draft(context, options, options.helpful(effects, weights), failed)
        if draft is not None and not any(_is_alike(_changes_of(draft), other) for other in being_measured):
            yield draft


def _changes_of(draft: Draft) -> frozenset[str]:
    """Return the changes of a draft, named as in `ideas.changes_of`."""
    before, after = draft.notes.before or {}, draft.notes.knobs or {}
    return frozenset((*(draft.notes.edits or ()), *(knob_change(name, before[name], after[name]) for name in after)))


def _is_alike(changes: frozenset[str], other: frozenset[str]) -> bool:
    """Return whether the scores of two experiments would say much the same: one has all the other's changes, or two of them."""
    return changes <= other or len(changes & other) > SHARED


def _draft(
    context: Context, options: Options, wanted: list[Option], failed: Collection[frozenset[str]]
) -> Draft | None:
    """Return the first changes that fit each other as one draft; None if the model expects too little of them.

    `failed`: sets of changes that crashed or were skipped together. No draft contains all changes of such a set.
    """
    source, taken, marks = context.source, list[Option](), set[str]()
    values: dict[str, Value] = {}
    moved: list[dict[str, Value]] = []  # the constants that each change sets, with those that must follow
    for option in wanted:
        if len(taken) == MOST:
            break
        mark = options.mark(option)
        if option.name in {part.name for part in taken} or any(gone <= marks | {mark} for gone in failed):
            continue
        before = values
        if option.value is None:
            changed = applied(IDEAS[option.name], source)
            if changed is None:
                continue
            source = changed
        else:
            fitting = settable(options.known, values | {option.name: option.value})
            chosen = {part.name: part.value for part in (*taken, option) if part.value is not None}
            if any(fitting.get(name) != value for name, value in chosen.items()):
                continue  # it does not fit the others
            values = fitting
        taken.append(option)
        moved.append({name: value for name, value in values.items() if before.get(name) != value})
        marks.add(mark)
    if not taken or not values.keys() <= {knob.name for knob in knobs.read(source)}:
        return None
    names = [option.name for option in taken if option.value is None]
    change = options.change(values, names)
    expected = options.model.expected.gain(change)
    if expected < LEAST_GAIN:
        return None
    gain, spread = context.sigma * expected, context.sigma * options.model.spread(change)
    present = options.known.values_now
    moves = {name: options.move(name, value) for name, value in values.items()}
    what = [*moves.values(), *names]
    hypothesis = (
        f"{', '.join(what)}: by the {len(options.record.rows)} scores so far, {'these' if len(what) > 1 else 'this'} should gain "
        f"{gain:.4f} ± {spread:.4f}."
    )
    notes = Notes(
        knobs=values,
        edits=tuple(names),
        before={name: present[name] for name in values},
        expected=(round(gain, 5), round(spread, 5)),
        parts=tuple(_part(context, options, option, moves, sets) for option, sets in zip(taken, moved, strict=True)),
    )
    return Draft(knobs.set_knobs(source, values) if values else source, hypothesis, taken[0].topic, notes)


def _part(context: Context, options: Options, option: Option, moves: Mapping[str, str], sets: dict[str, Value]) -> Part:
    """Return the note about one change. `sets`: the constants that it sets, with those that must follow."""
    return Part(
        name=moves.get(option.name, option.name),
        gain=round(context.sigma * options.model.expected.gain(option.change), 5),
        error=round(context.sigma * options.model.spread(option.change), 5),
        knobs=sets,
        edits=(option.name,) if option.value is None else (),
    )
