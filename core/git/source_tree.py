"""A source tree as git sees it: where its files lie in a repository, and which texts of train.py count as the same. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.target import TARGET

TRAIN, PROGRAM = TARGET.path, "program.md"
BYTE_ORDER_MARK = "\ufeff"  # some editors put one first


@dataclass(frozen=True)
class SourceTree:
    """A folder with nanochat/train.py, and its place in a repository.

    Attributes:
        root: The folder, without links in its path.
        prefix: Its path inside the repository with a slash at the end, "" at the repository's top.
    """

    root: Path
    prefix: str

    @property
    def train(self) -> str:
        """The path of train.py inside the repository."""
        return self.prefix + TRAIN

    @property
    def program(self) -> str:
        """The path of program.md inside the repository."""
        return self.prefix + PROGRAM


def normalised(text: str) -> str:
    """Remove what editors add to a text: a byte order mark, and carriage returns."""
    return text.removeprefix(BYTE_ORDER_MARK).replace("\r\n", "\n")
