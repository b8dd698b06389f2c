"""The moves of a constant that a language model can choose, and the resulting proposal. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from core.agents.llm.answers import LONGEST_HYPOTHESIS, KnobAnswer
from core.change import knobs
from core.change.edits import EditError
from core.change.knobs import Knob
from core.model import Notes, Proposal, Value
from core.text import sanitize_line

FACTORS = ("0.25", "0.5", "0.7", "0.85", "1.2", "1.4", "2", "4")


def moves(knob: Knob) -> tuple[str, ...]:
    """Return the moves of a knob: its other values for a choice, else factors."""
    if isinstance(knob.value, bool):
        return (str(not knob.value),)
    if isinstance(knob.value, str):
        return tuple(pattern for pattern in ("L", "S", "SL", "SSL", "SSSL") if pattern != knob.value)
    if knob.value == 0:
        return ("0.01", "0.1", "1") if isinstance(knob.value, float) else ("1",)
    return tuple(factor for factor in FACTORS if _scaled(knob.value, float(factor)) != knob.value)


def offered(source: str, left_out: Sequence[str] = ()) -> list[Knob]:
    """Return the constants that may be moved, without `left_out`. If none is left, return all; the check then gives reasons."""
    every = knobs.read(source)
    return [knob for knob in every if knob.name not in left_out] or list(every)


def knob_proposal(answer: KnobAnswer, source: str) -> Proposal:
    """Return the move in an answer as a proposal on this source. Raises EditError with a message for the model."""
    known = {knob.name: knob for knob in knobs.read(source)}
    knob = known.get(answer.knob)
    if knob is None:
        raise EditError(f"There is no constant {sanitize_line(answer.knob, 60)!r}. There are: {', '.join(known)}.")
    value = moved(knob, answer.move)
    candidate = knobs.set_knobs(source, {knob.name: value})
    hypothesis = (
        sanitize_line(answer.hypothesis, LONGEST_HYPOTHESIS) or f"Set {knob.name} from {knob.value} to {value}."
    )
    return Proposal(hypothesis=hypothesis, source=candidate, notes=Notes(knobs={knob.name: value}))


def moved(knob: Knob, move: str) -> Value:
    """Return the new value: the choice itself, or the present value times a factor. Raises EditError."""
    if isinstance(knob.value, bool | str):
        allowed = moves(knob)
        if move not in allowed:
            raise EditError(f"{knob.name} can be moved to {', '.join(allowed)}, not to {sanitize_line(move, 40)!r}.")
        return (move == "True") if isinstance(knob.value, bool) else move
    try:
        factor = float(move)
    except ValueError:
        factor = -1.0
    if not 0 < factor <= 100:
        raise EditError(f"{knob.name} is a number: move it by one of {', '.join(moves(knob))}.")
    return _scaled(knob.value, factor)


def _scaled(value: int | float, factor: float) -> Value:
    """Return a number times a factor. A power of two stays one, and an integer stays an integer of at least 1."""
    if isinstance(value, float):
        return float(f"{factor if value == 0 else value * factor:.3g}")
    if knobs.is_power_of_two(value) and value > 2:
        return int(2 ** max(0, value.bit_length() - 1 + _log2(factor)))
    return max(1, round(value * factor)) if value else 1


def _log2(factor: float) -> float:
    """Return the base-2 logarithm, rounded to an integer other than 0."""
    steps = round(math.log2(factor))
    return steps or (1 if factor > 1 else -1)
