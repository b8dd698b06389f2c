"""Temporary folders that do not depend on one place: TMPDIR may be removed, full, read-only or far down while a run works."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def places() -> Iterator[Path]:
    """Where temporary files may go: what the environment names, then what systems have. None needs to be there."""
    for name in ("TMPDIR", "TEMP", "TMP", "XDG_RUNTIME_DIR"):
        if named := os.environ.get(name):
            yield Path(named).absolute()
    yield from map(Path, ("/tmp", "/var/tmp", "/dev/shm"))


def folder(prefix: str) -> Path:
    """Make a folder that only this user may enter, at the first place that takes one. Raises the last place's OSError."""
    failure = OSError("there is no place for temporary files")
    for place in places():
        try:
            return Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        except OSError as error:
            failure = error
    raise failure
