"""Temporary folders in one of several places, since TMPDIR may be removed, full, read-only or too long during a run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def places() -> Iterator[Path]:
    """Yield places for temporary files: those in the environment, then the usual ones. They need not exist."""
    for name in ("TMPDIR", "TEMP", "TMP", "XDG_RUNTIME_DIR"):
        if named := os.environ.get(name):
            yield Path(named).absolute()
    yield from map(Path, ("/tmp", "/var/tmp", "/dev/shm"))


def folder(prefix: str) -> Path:
    """Create a private folder at the first place where that is possible. Raises the OSError of the last place."""
    failure = OSError("there is no place for temporary files")
    for place in places():
        try:
            return Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        except OSError as error:
            failure = error
    raise failure
