"""What a language model answers, read out of its text but not applied yet. Pure."""

from __future__ import annotations

from core.model import Edit
from nanochat.contract.value import Data

LONGEST_HYPOTHESIS = 400  # characters


class KnobAnswer(Data, frozen=True, kw_only=True):
    """One constant, moved by a factor or set to a choice."""

    hypothesis: str
    knob: str
    move: str


class EditsAnswer(Data, frozen=True, kw_only=True):
    """Replacements in train.py."""

    hypothesis: str
    edits: tuple[Edit, ...]
