"""The place of a source tree in a repository. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.target import TARGET

TRAIN, PROGRAM = TARGET.path, "program.md"


@dataclass(frozen=True)
class SourceTree:
    """A folder with nanochat/train.py, and its place in a repository.

    Attributes:
        root: The folder, without symbolic links in its path.
        prefix: Its path inside the repository with a slash at the end; "" at the top of the repository.
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
