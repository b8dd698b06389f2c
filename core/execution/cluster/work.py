"""The folder in which a slot on a node works. It is removed at the end; one that a killed actor has left is removed later."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from pathlib import Path

LOCK = "lock"


class WorkFolder:
    """A folder of one actor, below the cache folder of its node. It is locked while the actor lives.

    Args:
        cache: The cache folder of the node.

    Attributes:
        path: The folder.
    """

    def __init__(self, cache: Path) -> None:
        below = cache / "work"
        below.mkdir(parents=True, exist_ok=True)
        with (below / LOCK).open("w") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)  # so that no other actor takes a new folder for one that was left
            for left in below.iterdir():
                if left.is_dir() and not _locked(left):
                    shutil.rmtree(left, ignore_errors=True)
            self.path = Path(tempfile.mkdtemp(dir=below))
            self._lock = (self.path / LOCK).open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def fresh(self, name: str) -> Path:
        """Return an empty folder of this name. What it held is removed."""
        folder = self.path / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _locked(folder: Path) -> bool:
    """Return whether an actor works in a folder."""
    with contextlib.suppress(OSError), (folder / LOCK).open("r") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
