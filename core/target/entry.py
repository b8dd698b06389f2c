"""One idea of the book: a structural edit of train.py with what is known about it."""

from __future__ import annotations

from dataclasses import dataclass

from core.model import Edit


@dataclass(frozen=True)
class Entry:
    """One idea.

    Attributes:
        name: Short and unique; it names the idea in combinations.
        topic: One of the target's topics.
        hypothesis: What is changed and why it may help, as a sentence.
        changes: The edit, as pairs of a text that occurs once in train.py and the text that replaces it.
        source: Where the idea comes from: a paper, or a project that uses it.
        cost: What a step costs more or less, and where the idea may not fit.
    """

    name: str
    topic: str
    hypothesis: str
    changes: tuple[tuple[str, str], ...]
    source: str = ""
    cost: str = ""

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The changes as edits of a proposal."""
        return tuple(Edit(search=search, replace=replace) for search, replace in self.changes)
