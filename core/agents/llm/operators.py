"""Chooses what a language model is asked for: a draft, or a proposal that builds on the record. Pure.

The choice depends on the context alone. It is drawn by weights: the confirmed gain for each proposal of an operator in this run,
with a prior. A draft is the default, and no other operator gets more than its share.
"""

from __future__ import annotations

import random
from typing import TypeVar

from msgspec.structs import replace

from core.agents.base import Context, PastExperiment
from core.agents.llm.formats import Tier
from core.agents.llm.material import DRAFT, Plan, plans
from core.model import Cost, Operator

Kind = TypeVar("Kind", bound=Cost)
PRIOR_WON, PRIOR_ASKED = 0.5, 4.0  # the prior counts as much as half a large gain in four proposals
LARGE, MOST = 4.0, 2.0  # a gain of so many standard deviations of one score counts as 1; the most that a gain counts
DRAFTS = 2.0  # the weight of a draft is multiplied by this
WINDOW, SHARE = 9, 3  # of so many proposals in a row, the most with one operator other than `draft`
VAIN, REST = 2, 12  # after so many unusable answers in a row an operator rests for so many proposals


def choose(context: Context, tier: Tier) -> Plan:
    """Return what a language model is asked for next.

    Args:
        context: What the proposal may depend on. The same context gives the same plan.
        tier: The answer format. The plan can be followed in it.
    """
    if any(hint.at >= context.number for hint in context.all_hints):
        return DRAFT  # the human has just said something
    open_to: dict[Operator, Plan] = {
        operator: plan for operator, plan in plans(context, tier).items() if _has_share(context, operator)
    }
    options = [DRAFT, *open_to.values()]
    weights = [rate(context, plan.operator) * (DRAFTS if plan is DRAFT else 1.0) for plan in options]
    chance = random.Random(f"{context.seed}/{context.number}/operator")
    return chance.choices(options, weights)[0]


def rate(context: Context, operator: Operator) -> float:
    """Return the large gains for each proposal of an operator, with the prior."""
    asked = [request for request in context.asked if request.operator == operator]
    usable = {request.number for request in asked if request.usable}
    won = sum(_won(past, context.sigma) for past in context.past if past.number in usable)
    return (PRIOR_WON + won) / (PRIOR_ASKED + len(asked))


def _won(past: PastExperiment, sigma: float) -> float:
    if not past.verdict.kept or past.gain is None or sigma <= 0:
        return 0.0
    return min(MOST, max(0.0, past.gain / (LARGE * sigma)))


def _has_share(context: Context, operator: Operator) -> bool:
    """Return whether an operator may be chosen: it has a part of its share left, and its answers could be used."""
    if sum(request.operator == operator for request in context.asked[-(WINDOW - 1) :]) >= SHARE:
        return False
    last = [request for request in context.asked if request.operator == operator][-VAIN:]
    rested = last and context.number - last[-1].number > REST
    return len(last) < VAIN or any(request.usable for request in last) or bool(rested)


class Task:
    """What is asked for in one proposal: the plan that was chosen, until its answers could not be used; then a draft.

    Args:
        chosen: The plan.
    """

    def __init__(self, chosen: Plan) -> None:
        self.plan, self._chosen = chosen, chosen

    def give_up(self) -> None:
        """Ask for a draft from now on."""
        self.plan = DRAFT

    def noted(self, notes: Kind) -> Kind:
        """Return the notes of a proposal, or the cost of a failure, with what was asked for."""
        dropped = self._chosen.operator if self.plan is not self._chosen else ""
        return replace(notes, operator=self.plan.operator, on=self._chosen.numbers or None, dropped=dropped)
