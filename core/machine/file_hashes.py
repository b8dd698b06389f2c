"""Check files against their hashes. A file with the same size, times and inode as at the last check is not read again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path


def sha256(path: Path) -> str:
    """Return the hash of a file's content, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class UnchangedFiles:
    """Files that must not change.

    Args:
        files: Path -> SHA-256 in hexadecimal.
    """

    def __init__(self, files: Mapping[Path, str]) -> None:
        self._files = dict(files)
        self._seen: dict[Path, tuple[int, ...]] = {}

    def altered(self) -> Path | None:
        """Return a file whose content has another hash, or None if all are unchanged.

        Raises:
            OSError: A file is missing or cannot be read. `filename` is its path.
        """
        for path, digest in self._files.items():
            now = _stat(path)
            if now == self._seen.get(path):
                continue
            if sha256(path) != digest:
                return path
            self._seen[path] = now
        return None


def _stat(path: Path) -> tuple[int, ...]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino
