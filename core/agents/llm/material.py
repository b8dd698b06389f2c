"""What a language model could build on: near misses, crashes, kept changes, grown code. Pure.

A change is offered only if an answer can follow: it applies to the present train.py, it is not used up or off limits, and for
the format `knob` it is one constant that has a move left.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from core.agents.base import Context, PastExperiment
from core.agents.llm import exhausted_ideas
from core.agents.llm.formats import Tier
from core.agents.llm.knob_moves import moved, moves
from core.change import edits, knobs
from core.change.knobs import Knob
from core.model import Edit, Operator, Value
from core.verdicts import Verdict

IMPROVED, REPAIRED, SIMPLIFIED = 2, 1, 2  # how often: one near miss, one crash, one train.py
NEAR = 0.25  # standard errors from which on a gain is a near miss; few gains on one seed reach more
PAIRED = 4  # the best near misses, from which two are combined
GROWN_SHARE, GROWN_NODES = 0.02, 40  # code to simplify: so much more than at the start, as a share and in AST nodes


@dataclass(frozen=True)
class Plan:
    """What a language model is asked for.

    Attributes:
        operator: The kind of proposal.
        on: The experiments that it builds on.
        edits: Their change as edits of the present train.py. For `ablate` those that undo it.
        knob: For the format `knob`, the only constant that is offered; "" for all.
        moves: Its moves.
        grown: For `simplify`, the AST nodes that were added since the start.
    """

    operator: Operator = "draft"
    on: tuple[PastExperiment, ...] = ()
    edits: tuple[Edit, ...] = ()
    knob: str = ""
    moves: tuple[str, ...] = ()
    grown: int = 0

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(past.number for past in self.on)


DRAFT = Plan()


def plans(context: Context, tier: Tier) -> dict[Operator, Plan]:
    """Return a plan for each operator that has material now, without `draft`."""
    near = list(_near_misses(context))
    by_operator: dict[Operator, Plan | None] = {
        "improve": _one(context, tier, "improve", near, IMPROVED),
        "repair": _one(context, tier, "repair", _crashes(context), REPAIRED),
        "ablate": _ablation(context, tier),
    }
    if tier != "knob":
        by_operator |= {"combine": _pair(context, near), "simplify": _simplification(context)}
    return {operator: plan for operator, plan in by_operator.items() if plan is not None}


def _near_misses(context: Context) -> Iterator[PastExperiment]:
    """Yield the near misses of this train.py, the best first: gains of at least a quarter of their standard error."""
    here = [
        p
        for p in context.past
        if p.parent == context.parent and p.verdict is Verdict.DISCARD and (p.gain or 0) > NEAR * (p.error or 0)
    ]
    yield from (p for p in sorted(here, key=lambda p: (-(p.gain or 0), -p.number)) if _open(context, p))


def _crashes(context: Context) -> Iterator[PastExperiment]:
    """Yield the crashes of changes of this train.py, the latest first."""
    here = (p for p in reversed(context.past) if p.parent == context.parent and p.verdict is Verdict.CRASH)
    yield from (p for p in here if _open(context, p))


def _open(context: Context, past: PastExperiment) -> bool:
    """Return whether the change of a past experiment is known, and may be tried in another way."""
    off, used_up = exhausted_ideas.off_limits(context), [group.idea for group in exhausted_ideas.exhausted(context)]
    within = any(
        f"{name}.".startswith(f"{limit}.") or limit.startswith(f"{name}.") for name in past.idea for limit in off
    )
    return bool(past.change) and past.idea not in used_up and not within


def _times(context: Context, operator: Operator, numbers: tuple[int, ...]) -> int:
    return sum(asked.operator == operator and set(asked.on) == set(numbers) for asked in context.asked)


def _one(
    context: Context, tier: Tier, operator: Operator, candidates: Iterable[PastExperiment], most: int
) -> Plan | None:
    """Return a plan to build on the first of these experiments that was built on less than `most` times."""
    for past in candidates:
        if _times(context, operator, (past.number,)) >= most:
            continue
        if tier != "knob":
            if edits.try_apply(context.source, past.change) is not None:
                return Plan(operator, (past,), past.change)
        elif (plan := _with_knob(context, operator, past)) is not None:
            return plan
    return None


def _with_knob(context: Context, operator: Operator, past: PastExperiment) -> Plan | None:
    """Return a plan to move the only constant of an experiment in its direction; after a crash by less than before."""
    if past.structural or len(past.constants) != 1:
        return None
    ((name, (before, after)),) = past.constants.items()
    knob = next((knob for knob in knobs.read(context.source) if knob.name == name), None)
    if knob is None or knob.value != before:
        return None
    left: dict[Value, str] = {}  # new value -> its move; several factors can give one power of two
    for move in sorted(moves(knob), key=_size):
        value = moved(knob, move)
        if _is_beside(before, after, value, nearer=operator == "repair") and _new(context, knob, move):
            left[value] = move
    return Plan(operator, (past,), knob=name, moves=tuple(left.values())) if left else None


def _size(move: str) -> float:
    """Return how far a factor is from 1; 0 for another choice."""
    try:
        return abs(math.log(float(move)))
    except ValueError:
        return 0.0


def _is_beside(before: Value, after: Value, value: Value, *, nearer: bool) -> bool:
    """Return whether a number lies in the same direction as one tried before, if asked for between the two."""
    numbers = [
        number for number in (before, after, value) if isinstance(number, int | float) and not isinstance(number, bool)
    ]
    if len(numbers) < 3:
        return not nearer and value != after
    start, tried, new = numbers
    return (
        new not in (start, tried)
        and (new > start) == (tried > start)
        and (not nearer or (new < tried) == (start < tried))
    )


def _new(context: Context, knob: Knob, move: str) -> bool:
    candidate = knobs.set_knobs(context.source, {knob.name: moved(knob, move)})
    return edits.any_fingerprint(candidate) not in context.tried


def _pair(context: Context, near: list[PastExperiment]) -> Plan | None:
    """Return a plan to combine two near misses that touch different names, the best pair first."""
    pairs = sorted(combinations(near[:PAIRED], 2), key=lambda pair: -sum(p.gain or 0 for p in pair))
    for one, two in pairs:
        both = (*one.change, *two.change)
        numbers = (one.number, two.number)
        if set(one.idea) & set(two.idea) or _times(context, "combine", numbers) or not _is_untried(context, both):
            continue
        return Plan("combine", (one, two), both)
    return None


def _simplification(context: Context) -> Plan | None:
    asked = sum(
        asked_before.operator == "simplify" and asked_before.parent == context.parent for asked_before in context.asked
    )
    if context.grown < GROWN_NODES or asked >= SIMPLIFIED:
        return None
    if context.grown < GROWN_SHARE * edits.any_nodes(context.source):
        return None
    return Plan("simplify", grown=context.grown)


def _ablation(context: Context, tier: Tier) -> Plan | None:
    """Return a plan to take one kept change back: the one with the least gain, but not the latest, which was just compared.

    What the human kept stays, whatever its gain.
    """
    kept = [p for p in context.past if p.verdict.kept]
    loops = [p for p in kept[:-1] if p.by != "human"]
    for past in sorted(loops, key=lambda p: (p.gain or 0.0, p.number)):
        if not _open(context, past) or _times(context, "ablate", (past.number,)):
            continue
        back = tuple(Edit(search=edit.replace, replace=edit.search) for edit in reversed(past.change))
        if not _is_untried(context, back):
            continue
        if tier != "knob":
            return Plan("ablate", (past,), back)
        if (plan := _back(context, past)) is not None:
            return plan
    return None


def _back(context: Context, past: PastExperiment) -> Plan | None:
    """Return a plan to move the only constant of a kept change back to its value before, if one move does so."""
    if past.structural or len(past.constants) != 1:
        return None
    ((name, (before, after)),) = past.constants.items()
    knob = next((knob for knob in knobs.read(context.source) if knob.name == name and knob.value == after), None)
    move = next((move for move in moves(knob) if moved(knob, move) == before), "") if knob is not None else ""
    return Plan("ablate", (past,), knob=name, moves=(move,)) if move else None


def _is_untried(context: Context, change: tuple[Edit, ...]) -> bool:
    """Return whether a change applies to the present train.py, and was not tried on it."""
    candidate = edits.try_apply(context.source, change)
    return candidate is not None and edits.any_fingerprint(candidate) not in context.tried
