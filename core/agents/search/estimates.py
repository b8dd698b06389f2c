"""What the joint model expects of single changes to the incumbent, for language models. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from core.agents.base import Context
from core.agents.search.combine import LEAST_ROWS
from core.agents.search.drafts import Knobs
from core.agents.search.ideas import IDEAS
from core.agents.search.options import Option, Options
from core.change import knobs

HELPFUL, HARMFUL = 5, 3  # changes that are told
SURE = 1.0  # a harmful change is told if it hurts by more than so many standard deviations


@dataclass(frozen=True)
class Estimate:
    """The gain that the model expects of a change, in bpb (positive is better), with its standard deviation."""

    words: str
    gain: float
    error: float


def estimates(context: Context, left_out: Collection[str] = ()) -> list[Estimate]:
    """Return the changes that should help most, the best first, then those that should hurt most, the worst last.

    Only changes that some score is known about. None before LEAST_ROWS scored experiments, or if train.py cannot be read.

    Args:
        context: The record of the run, and its best train.py.
        left_out: Names of train.py that may not change.
    """
    try:
        every = {knob.name: knob for knob in knobs.read(context.source)}
    except SyntaxError:
        return []
    free = {name: knob for name, knob in every.items() if name not in left_out}
    options = Options(context, Knobs(free, every), left_out)
    if options.record.scored < LEAST_ROWS:
        return []
    groups = [[_estimate(context, options, option) for option in group] for group in options.known_about()]
    best = (max(group, key=lambda one: one.gain) for group in groups)
    worst = (min(group, key=lambda one: one.gain) for group in groups)
    helpful = sorted((one for one in best if one.gain > 0), key=lambda one: -one.gain)
    harmful = sorted((one for one in worst if one.gain < -SURE * one.error), key=lambda one: one.gain)
    return [*helpful[:HELPFUL], *reversed(harmful[:HARMFUL])]


def _estimate(context: Context, options: Options, option: Option) -> Estimate:
    text = options.words(option).replace("->", "to")  # in a prompt, marks of that kind are replaced
    if option.value is None:
        text = f"{text} ({IDEAS[option.name].hypothesis})"
    gain, error = options.model.expected.gain(option.change), options.model.spread(option.change)
    return Estimate(text, context.sigma * gain, context.sigma * error)
