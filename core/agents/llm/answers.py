"""Answers of a language model, parsed but not applied. Pure."""

from __future__ import annotations

from core.model import Edit
from nanochat.contract.value import Data

LONGEST_HYPOTHESIS = 400  # characters


class KnobAnswer(Data, frozen=True, kw_only=True):
    """A change of one constant, by a factor or to a choice."""

    hypothesis: str
    knob: str
    move: str


class EditsAnswer(Data, frozen=True, kw_only=True):
    """Replacements in train.py."""

    hypothesis: str
    edits: tuple[Edit, ...]
