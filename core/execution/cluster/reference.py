"""The reference of a node for a run: the mean reading of the gauge in the run's first training there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from pathlib import Path


class References:
    """The references in the cache folder of a node, by run. All slots of the node share them.

    Args:
        cache: The cache folder.
        run: The id of the run.
    """

    def __init__(self, cache: Path, run: str) -> None:
        name = hashlib.sha256(f"{run} {machine()}".encode()).hexdigest()
        self._path = cache / "references" / name

    def read(self) -> float | None:
        """Return the CPU seconds of a reading; None if no training of the run has ended here."""
        with contextlib.suppress(OSError, ValueError):
            return float(self._path.read_text())
        return None

    def keep(self, seconds: float) -> None:
        """Keep the reference, unless another slot was faster. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        draft.write_text(repr(seconds))
        try:
            with contextlib.suppress(FileExistsError):
                os.link(draft, self._path)
        finally:
            draft.unlink(missing_ok=True)


def machine() -> str:
    """Return what identifies this machine. Several may share a home folder, and so the cache."""
    known = ""
    for name in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"):
        with contextlib.suppress(OSError):
            known += Path(name).read_text()
    return f"{socket.gethostname()} {known}"
