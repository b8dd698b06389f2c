"""List the files of a dataset's source and detect changes to them."""

from __future__ import annotations

import contextlib
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
# Excluded from the standard library: tests, and packages that consist mostly of tables.
EXCLUDED = {"test", "tests", "idlelib", "encodings", "pydoc_data", "site-packages", "dist-packages", "__pycache__"}
OURS = "made by AutoResearch"  # why a folder is skipped
PREPARED = {"train.bin", "val.bin", "test.bin", "token_bytes.npy"}  # beside a manifest.json: prepared data
JOURNAL = b'{"type":"created"'  # first bytes of a run's journal

Stat = tuple[int, int, int, int]  # size, mtime_ns, ctime_ns, inode


class File(NamedTuple):
    """A file at the time of preparation."""

    name: str  # relative to the dataset's folder
    stat: Stat
    sha256: str  # '' if it could not be read


@dataclass(frozen=True)
class Entry:
    """A file or folder in a dataset's folder."""

    path: str
    name: str  # relative to the dataset's folder
    skipped: str = ""  # why it is left out, such as 'hidden'; '' if it is used


def entries(source: str, avoid: Collection[str] = ()) -> list[Entry]:
    """Return the entries of `python` or `text:PATH`, sorted by name; an empty list for downloaded datasets.

    Args:
        source: The resolved name of the dataset.
        avoid: Real paths of subfolders to skip, such as the folder of prepared data.
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
    """Walk a folder. Does not enter hidden folders, links to folders, or folders that AutoResearch wrote."""
    failed: list[OSError] = []
    for folder, folders, files in os.walk(top, onerror=failed.append):
        below = os.path.relpath(folder, top)
        if why := _reserved(folder, folders, files, avoid if folder != top else ()):
            yield Entry(folder, below, why)
            folders.clear()
            continue
        entered = []
        for name in sorted(folders):
            path = os.path.join(folder, name)
            why = "hidden" if name.startswith(".") else "behind a link" if os.path.islink(path) else ""
            if why:
                yield Entry(path, os.path.normpath(os.path.join(below, name)), why)
            else:
                entered.append(name)
        folders[:] = entered
        for name in files:
            path, relative = os.path.join(folder, name), os.path.normpath(os.path.join(below, name))
            yield Entry(path, relative, "hidden") if name.startswith(".") else _entry(path, relative)
    for error in failed:
        path = os.fsdecode(error.filename or top)
        yield Entry(path, os.path.relpath(path, top), "unreadable")


def _reserved(folder: str, folders: Collection[str], files: Collection[str], avoid: Collection[str]) -> str:
    """Return why a folder is skipped: AutoResearch wrote it, or it is a git repository. '' for other folders."""
    prepared = "manifest.json" in files and not PREPARED.isdisjoint(files)
    copies = "frozen.json" in files and not {"harness", "data"}.isdisjoint(folders)
    if folder in avoid or prepared or copies or ("events.jsonl" in files and _is_journal(folder)):
        return OURS
    return "a git repository" if "HEAD" in files and {"objects", "refs"} <= set(folders) else ""


def _is_journal(folder: str) -> bool:
    try:
        with open(os.path.join(folder, "events.jsonl"), "rb") as file:
            return file.read(len(JOURNAL)) == JOURNAL
    except OSError:
        return False


def _entry(path: str, name: str) -> Entry:
    try:
        regular = stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):  # a broken or circular link
        return Entry(path, name, "unreadable")
    return Entry(path, name, "" if regular else "not a regular file")


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
        self._paths = {entry.name: entry.path for entry in entries(source, avoid) if not entry.skipped}
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
    """Return a phrase such as '3 files changed (first: a.txt)'."""
    files = "1 file" if len(names) == 1 else f"{len(names)} files"
    return f"{files} {what} ({'first: ' if len(names) > 1 else ''}{printable(names[0])})"


def printable(path: str) -> str:
    """Escape control characters and bytes that are not UTF-8, so that a path can be printed."""
    text = path.encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
