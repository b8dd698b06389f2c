"""Chooses the next answer format from the record: a simpler one after failures, a richer one after successes. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from core.agents.base import PastExperiment
from core.agents.llm.formats import TIERS, Tier

TRIES = 3  # tries with one answer format
DOWN_AFTER, UP_AFTER = 2, 5  # failed or successful proposals in a row after which the format changes
SIMPLE_BILLIONS = 1.0  # below this only the simplest format works reliably (20 of 20 tries; replacements 0 to 18 of 20)
LARGE_BILLIONS = 30.0  # from here on text blocks work, and allow longer changes


def first(billions: float) -> Tier:
    """Return the first answer format for a model with this number of parameters in billions (0 if unknown)."""
    if 0 < billions < SIMPLE_BILLIONS:
        return "knob"
    return "blocks" if billions >= LARGE_BILLIONS else "edits"


def history(past: Sequence[PastExperiment], name: str) -> list[tuple[Tier, bool]]:
    """Return the answer format of each proposal of this model, and whether it worked. Mere repeats of a change do not count."""
    tried: list[tuple[Tier, bool]] = []
    for p in past:
        notes = p.proposal.notes
        tier = next((tier for tier in TIERS if tier == notes.format), None)
        if notes.model != name or tier is None:
            continue
        failed = bool(notes.instead)
        refused = (1 if notes.tries is None else notes.tries) - (not failed)
        left = failed or refused >= TRIES  # a format was given up
        if left and refused == (notes.repeats or 0):
            continue
        tried.append((tier, not failed))
    return tried


def choose(tried: Sequence[tuple[Tier, bool]], start: Tier) -> Tier:
    """Return the format of the next proposal: simpler after failures, and up again to at most `start` after successes."""
    level, highest = TIERS.index(start), TIERS.index(start)
    wins = losses = 0
    for tier, fitted in tried:
        if TIERS.index(tier) != level and fitted:
            losses += 1  # it only worked in a simpler format
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
    """Return this format and all simpler ones, from this one on."""
    return list(reversed(TIERS[: TIERS.index(tier) + 1]))
