"""What earlier runs have measured, in standard deviations of one score. Pure."""

from __future__ import annotations

from core.agents.base import Context
from core.agents.search.drafts import Knobs
from core.agents.search.ideas import knob_change


def idea_gains(context: Context) -> dict[str, float]:
    """Return what each idea of the book has gained alone, as name -> mean gain; positive is better.

    What was measured under other conditions counts in units of the noise there.
    """
    gains: dict[str, list[float]] = {}
    for effect in context.earlier:
        if len(effect.edits) == 1 and not effect.after:
            gains.setdefault(effect.edits[0], []).append(effect.gain / (effect.noise or context.sigma))
    return _means(gains)


def step_gains(context: Context, known: Knobs) -> dict[str, float]:
    """Return what steps from the present values have gained alone, such as "DEPTH up" -> 8.2.

    A knob that followed another one does not count.
    """
    gains: dict[str, list[float]] = {}
    for effect in context.earlier:
        name = next(iter(effect.after), "")
        if effect.edits or name not in known or known[name].value != effect.before[name]:
            continue
        single = knob_change(name, effect.before[name], effect.after[name]) if len(effect.after) == 1 else ""
        if step := effect.step or single:
            gains.setdefault(step, []).append(effect.gain / context.sigma)
    return _means(gains)


def _means(gains: dict[str, list[float]]) -> dict[str, float]:
    return {name: sum(values) / len(values) for name, values in gains.items()}
