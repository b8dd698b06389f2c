"""Which of several agents is asked next: those more often whose changes were kept. Pure.

Each agent finds kept changes at some rate, in changes per hour of proposing and training. The rate is not known, so it is drawn
from its posterior, and the agent with the highest draw is asked (Thompson 1933). The prior is a gamma distribution, which is
conjugate to the Poisson distribution of counts.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from core.agents.base import Context, PastExperiment
from core.record.experiment import AND_HUMAN

OPENING = 3  # turns of each agent before shares count
PRIOR_KEPT, PRIOR_TRIED = 1.0, 6.0  # the prior counts as much as one kept change in six experiments
LARGE = 4.0  # a gain of so many standard deviations of one score counts as one kept change, a larger one as more
MOST = 2.0  # kept changes that one gain can count as
HALF_LIFE = 20  # experiments after which an experiment counts half, since what an agent finds changes in a run


def order(names: Sequence[str], context: Context) -> list[int]:
    """Return the indices of the agents in the order in which they are asked for the next proposal.

    Args:
        names: The names of the agents.
        context: The context of the next proposal. The same context gives the same order.
    """
    turn = context.number - 1
    in_turn = [(turn + index) % len(names) for index in range(len(names))]
    if turn < OPENING * len(names):
        return in_turn
    chance = random.Random(f"{context.seed}/{context.number}/shares")
    rates = [_rate(name, context, chance) for name in names]
    return sorted(in_turn, key=lambda index: -rates[index])


def _rate(name: str, context: Context, chance: random.Random) -> float:
    """Draw the rate of an agent: kept changes per mean time of an experiment."""
    timed = [past.seconds for past in context.past if past.seconds > 0]
    usual_s = sum(timed) / len(timed) if timed else 1.0
    kept, tried = PRIOR_KEPT, PRIOR_TRIED
    for past in context.past:
        weight = 0.5 ** ((context.number - past.number) / HALF_LIFE)
        share = past.seconds / usual_s or 1.0
        if past.proposal.agent.removesuffix(AND_HUMAN) == name:
            kept += weight * _kept(past, context.sigma)
            tried += weight * share
        elif past.proposal.notes.instead == name:  # it failed, and cost time all the same
            tried += weight * share
    return chance.gammavariate(kept, 1 / tried)


def _kept(past: PastExperiment, sigma: float) -> float:
    """Return how many kept changes an experiment counts as. A simplification without a gain counts little."""
    if not past.verdict.kept or past.gain is None:
        return 0.0
    return min(MOST, max(0.0, past.gain / (LARGE * sigma)))
