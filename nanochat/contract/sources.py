"""The files behind a dataset: which ones count, and whether they are still what they were."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sysconfig
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

TEXT = "text:"
# Of the standard library: tests, and packages whose files are mostly tables.
EXCLUDED = {"test", "tests", "idlelib", "encodings", "pydoc_data", "site-packages", "dist-packages", "__pycache__"}

Stat = tuple[int, int, int, int]  # size, mtime_ns, ctime_ns, inode


class File(NamedTuple):
    """A file as it was when it was prepared."""

    name: str  # relative to the dataset's folder
    stat: Stat
    sha256: str  # of its bytes; '' where it could not be read


@dataclass(frozen=True)
class Entry:
    """Something that lies in a dataset's folder."""

    path: str
    name: str  # relative to the dataset's folder
    skipped: str = ""  # why it is left out, such as 'hidden'; '' for a file that counts


def entries(source: str, avoid: Collection[str] = ()) -> list[Entry]:
    """Return what lies behind `python` or `text:PATH`, sorted by name; nothing for a dataset that is downloaded.

    `avoid`: real paths of folders that are not entered, such as the one that the prepared data is written to.
    """
    if source == "python":
        found = _standard_library()
    elif source.startswith(TEXT):
        path = source.removeprefix(TEXT)
        found = _walk(path, avoid) if os.path.isdir(path) else iter([_entry(path, os.path.basename(path))])
    else:
        return []
    return sorted(found, key=lambda entry: os.fsencode(entry.name))


def _standard_library() -> Iterator[Entry]:
    root = sysconfig.get_paths()["stdlib"]
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(
            name for name in folders if name not in EXCLUDED and not name.startswith(("lib2to3", "config-"))
        )
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                yield _entry(path, os.path.relpath(path, root))


def _walk(top: str, avoid: Collection[str]) -> Iterator[Entry]:
    """Everything below a folder. Hidden files and folders, and links to folders, are not looked into."""
    failed: list[OSError] = []
    for folder, folders, files in os.walk(top, onerror=failed.append):
        for name in sorted(folders):
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, top)
            why = "hidden" if name.startswith(".") else "behind a link" if os.path.islink(path) else ""
            if why:
                yield Entry(path, relative, why)
            if why or os.path.realpath(path) in avoid:
                folders.remove(name)
        for name in files:
            path = os.path.join(folder, name)
            relative = os.path.relpath(path, top)
            yield Entry(path, relative, "hidden") if name.startswith(".") else _entry(path, relative)
    for error in failed:
        path = os.fsdecode(error.filename or top)
        yield Entry(path, os.path.relpath(path, top), "unreadable")


def _entry(path: str, name: str) -> Entry:
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):  # a link that leads nowhere or to itself
        return Entry(path, name, "unreadable")
    return Entry(path, name, "" if regular else "not a regular file")


def status(path: str) -> Stat:
    """What changes when a file's content does. Raises OSError."""
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def sha256(path: str | Path) -> str:
    """The hash of a file's content, in hexadecimal. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(files: Sequence[File], path: Path) -> None:
    """Write the list of files. Raises OSError."""
    path.write_text(json.dumps(files), encoding="utf-8")


def load(path: Path) -> list[File]:
    """Read what `save` wrote. Raises OSError, ValueError, TypeError."""
    return [File(name, tuple(found), digest) for name, found, digest in json.loads(path.read_text(encoding="utf-8"))]


class Now:
    """The files behind a dataset as they are now. Each is read at most once, and only where its size or times differ."""

    def __init__(self, source: str, avoid: Collection[str] = ()) -> None:
        self._paths = {entry.name: entry.path for entry in entries(source, avoid) if not entry.skipped}
        self._hashes: dict[str, str] = {}

    def changes(self, files: Sequence[File]) -> str:
        """What differs from `files`, such as '2 files changed (first: a.txt)'; '' when nothing does."""
        before = {file.name: file for file in files}
        differing = {
            "changed": [name for name in self._paths if name in before and not self._same(before[name])],
            "added": [name for name in self._paths if name not in before],
            "removed": [name for name in before if name not in self._paths],
        }
        return "; ".join(counted(names, what) for what, names in differing.items() if names)

    def _same(self, file: File) -> bool:
        path = self._paths[file.name]
        try:
            if status(path) == file.stat:
                return True
            if file.name not in self._hashes:
                self._hashes[file.name] = sha256(path)
        except OSError:
            return file.sha256 == ""
        return self._hashes[file.name] == file.sha256


def counted(names: Sequence[str], what: str) -> str:
    """Such as '3 files changed (first: a.txt)'."""
    files = "1 file" if len(names) == 1 else f"{len(names)} files"
    return f"{files} {what} ({'first: ' if len(names) > 1 else ''}{printable(names[0])})"


def printable(path: str) -> str:
    """A path that can be printed anywhere: bytes that are no UTF-8, and control characters, are escaped."""
    text = path.encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
