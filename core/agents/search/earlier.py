"""What earlier runs have measured, in standard deviations of one score. Pure."""

from __future__ import annotations

import math
from statistics import fmean

from core.agents.base import Context
from core.agents.search.drafts import Knobs
from core.agents.search.ideas import knob_change

MOST_TIMES = 4  # experiments that count at most, since an effect also depends on the other changes


def idea_gains(context: Context) -> dict[str, float]:
    """Return what each idea of the book has gained alone, as name -> mean gain; positive is better.

    What was measured under other conditions counts in units of the noise there.
    """
    gains: dict[str, list[float]] = {}
    for effect in context.earlier:
        if len(effect.edits) == 1 and not effect.after:
            gain = effect.gain / (effect.noise or context.sigma)
            gains.setdefault(effect.edits[0], []).extend([gain] * effect.times)
    return {name: fmean(found) for name, found in gains.items()}


def step_gains(context: Context, known: Knobs) -> dict[str, float]:
    """Return the mean gain of each step alone from the present values, times the root of the number of experiments: "DEPTH up" -> 8.2.

    The number counts up to MOST_TIMES. A knob that followed another one does not count.
    """
    gains: dict[str, list[float]] = {}
    for effect in context.earlier:
        name = next(iter(effect.after), "")
        if effect.edits or name not in known or known[name].value != effect.before[name]:
            continue
        single = knob_change(name, effect.before[name], effect.after[name]) if len(effect.after) == 1 else ""
        if step := effect.step or single:
            gains.setdefault(step, []).extend([effect.gain / context.sigma] * effect.times)
    return {step: fmean(found) * math.sqrt(min(len(found), MOST_TIMES)) for step, found in gains.items()}
