"""Detect changes to the files of a dataset's source."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from nanochat.contract import sources
from nanochat.contract.text import printable

Stat = tuple[int, int, int, int]  # size, mtime_ns, ctime_ns, inode


class File(NamedTuple):
    """A file at the time of preparation."""

    name: str  # relative to the dataset's folder
    stat: Stat
    sha256: str  # '' if it could not be read


def status(path: str) -> Stat:
    """Return the metadata that changes with a file's content. Raises OSError."""
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def sha256(path: str | Path) -> str:
    """Hash a file's content, in hexadecimal. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(files: Sequence[File], path: Path) -> None:
    """Write the list of files atomically. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(files), encoding="utf-8")
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def load(path: Path) -> list[File]:
    """Read what `save` wrote. Raises OSError, ValueError, TypeError."""
    return [File(name, tuple(found), digest) for name, found, digest in json.loads(path.read_text(encoding="utf-8"))]


class Now:
    """The current files of a dataset's source. Each is read at most once, and only if its size or times differ."""

    def __init__(self, source: str, avoid: Collection[str] = ()) -> None:
        self._paths = {entry.name: entry.path for entry in sources.files(source, avoid) if not entry.skipped}
        self._read: dict[str, File] = {}

    def changes(self, files: Sequence[File]) -> str:
        """Return the differences from `files`, such as '2 files changed (first: a.txt)'; '' if there are no differences."""
        before = {file.name: file for file in files}
        differing = {
            "changed": [name for name in self._paths if name in before and not self._same(before[name])],
            "added": [name for name in self._paths if name not in before],
            "removed": [name for name in before if name not in self._paths],
        }
        return "; ".join(counted(names, what) for what, names in differing.items() if names)

    def changes_since(self, path: Path) -> str:
        """Return the differences from a list written by `save`.

        Updates the saved times of files that were read and are unchanged, so that they are not read again.

        Raises:
            OSError, ValueError, TypeError: The list cannot be read.
        """
        files = load(path)
        found = self.changes(files)
        newer = [now if (now := self._read.get(file.name)) and now.sha256 == file.sha256 else file for file in files]
        if newer != files:
            with contextlib.suppress(OSError):
                save(newer, path)
        return found

    def _same(self, file: File) -> bool:
        path = self._paths[file.name]
        try:
            stat = status(path)
            if stat == file.stat:
                return True
            if file.name not in self._read:
                self._read[file.name] = File(file.name, stat, sha256(path))
        except OSError:
            return file.sha256 == ""
        return self._read[file.name].sha256 == file.sha256


def counted(names: Sequence[str], what: str) -> str:
    """Return a phrase such as '3 files changed (first: a.txt)'. `what` may be '', and there may be no names."""
    files = "1 file" if len(names) == 1 else f"{len(names)} files"
    first = f"({'first: ' if len(names) > 1 else ''}{printable(names[0])})" if names else ""
    return " ".join(filter(None, (files, what, first)))
