"""In which form a model is asked next: down after failures, up again after successes, from the record alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from core.agents.base import PastExperiment
from core.agents.llm.formats import TIERS, Tier

TRIES = 3  # with one form of answer
DOWN_AFTER, UP_AFTER = 2, 5  # proposals in a row that failed, or fitted, before the form changes
SIMPLE_BILLIONS = 1.0  # below this only the simplest form of answer works (20 of 20 tries; replacements 0 to 18 of 20)
LARGE_BILLIONS = 30.0  # from here on text blocks work, and leave room for longer changes


def first(billions: float) -> Tier:
    """The form to begin with, by a model's parameters in billions (0: unknown)."""
    if 0 < billions < SIMPLE_BILLIONS:
        return "knob"
    return "blocks" if billions >= LARGE_BILLIONS else "edits"


def history(past: Sequence[PastExperiment], name: str) -> list[tuple[Tier, bool]]:
    """This model's proposals: the form, and whether it worked. A change that only had been tried before says nothing of the form."""
    found: list[tuple[Tier, bool]] = []
    for p in past:
        meta = p.proposal.meta
        if meta.get("model") != name or meta.get("format") not in TIERS:
            continue
        failed = bool(meta.get("instead"))
        refused = meta.get("tries", 1) - (not failed)
        left = failed or refused >= TRIES  # a form was given up
        if left and refused == meta.get("repeats", 0):
            continue
        found.append((meta["format"], not failed))
    return found


def choose(tried: Sequence[tuple[Tier, bool]], start: Tier) -> Tier:
    """The form for the next proposal: down after failures in a row, up again (not beyond the start) after successes."""
    level, highest = TIERS.index(start), TIERS.index(start)
    wins = losses = 0
    for tier, fitted in tried:
        if TIERS.index(tier) != level and fitted:
            losses += 1  # it came out only in a simpler form
            wins = 0
        elif fitted:
            wins, losses = wins + 1, 0
        else:
            wins, losses = 0, losses + 1
        if losses >= DOWN_AFTER and level > 0:
            level, losses = level - 1, 0
        elif wins >= UP_AFTER and level < highest:
            level, wins = level + 1, 0
    return TIERS[level]


def downwards(tier: Tier) -> list[Tier]:
    """This form and all simpler ones."""
    return list(reversed(TIERS[: TIERS.index(tier) + 1]))
