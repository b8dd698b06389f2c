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
        instead: Ideas with the same word here replace each other, so one train.py has at most one of them.
    """

    name: str
    topic: str
    hypothesis: str
    changes: tuple[tuple[str, str], ...]
    source: str = ""
    cost: str = ""
    instead: str = ""

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The changes as edits of a proposal."""
        return tuple(Edit(search=search, replace=replace) for search, replace in self.changes)

    def present(self, source: str) -> bool:
        """Return whether this train.py has the idea, and would still accept it a second time.

        Most edits remove the text that they search for, so they cannot apply twice. Others keep it and put lines beside it. Those
        are recognised by these lines.
        """
        for search, replace in self.changes:
            if search in replace:
                beside = [part.strip() for part in replace.split(search)]
                if all(part in source for part in beside):
                    return True
        return False
