"""What a tracker must do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from core.errors import UserError
from core.track.tracked import Tracked


class TrackFailed(UserError):
    """A tracker has refused an experiment. The message is shown to the user."""


class Tracker(Protocol):
    """Writes experiments to one place of an experiment tracker."""

    @property
    def place(self) -> str:
        """A sentence that says where the experiments are, or how to see them."""
        ...

    def has(self, tracked: Tracked) -> bool:
        """Return whether this experiment was written before, completely."""
        ...

    def write(self, tracked: Tracked) -> None:
        """Write an experiment. What an interrupted call has left of it is replaced.

        Raises:
            TrackFailed: The tracker has refused it.
            OSError: A file cannot be written.
        """
        ...


@dataclass(frozen=True)
class Destination:
    """Where to write: the folder of the run, and the project that the user has named, None for the default."""

    folder: Path
    project: str | None = None
