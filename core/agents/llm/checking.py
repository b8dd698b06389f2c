"""Checks of a language model's proposal, which the loop makes again. Pure."""

from __future__ import annotations

from core.agents.base import Context
from core.agents.llm import exhausted_ideas
from core.change import edits
from core.change.edits import EditError
from core.model import Proposal


class Repeated(EditError):
    """The change was tried already."""


def check(context: Context, proposal: Proposal) -> None:
    """Check a proposal as the loop does. Raises EditError with a message for the model."""
    candidate = proposal.source if proposal.source is not None else edits.apply(context.source, proposal.edits)
    edits.validate_change(context.source, candidate, off_limits=exhausted_ideas.off_limits(context))
    fingerprint = edits.fingerprint(candidate)
    if number := context.tried.get(fingerprint):
        verdict = next((past.verdict.words for past in context.past if past.number == number), "")
        raise Repeated(
            f"This very change was tried as experiment {number}; its verdict was: {verdict}. Propose another."
            if verdict
            else f"This very change is being tried just now, as experiment {number}. Propose another."
        )
    if reason := exhausted_ideas.refusal(context, candidate):
        raise EditError(reason)
