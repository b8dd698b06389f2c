"""Files by the SHA-256 of their content, in the cache folder of a node. Each is verified before it is used."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from core.execution.launch import LIST
from core.machine.file_hashes import sha256

DIGEST = re.compile(r"[0-9a-f]{64}")
DRAFT_S = 3600.0  # without a write for so long, what arrives is taken to be interrupted
UNUSED_S = 30 * 86400.0  # without use for so long, files of a run are removed


class BadContent(ValueError):
    """A file that arrived is not what it should be."""


class Store:
    """The files in a cache folder. Several processes may use the same folder.

    Args:
        folder: The cache folder, which is created.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._own = secrets.token_hex(8)  # in names of drafts; process numbers of several machines may be the same
        for name in ("files", "trees"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Return the path of a file, which need not exist. Raises BadContent for a text that is not a hash."""
        if not DIGEST.fullmatch(digest):
            raise BadContent(f"{digest[:80]!r} is not a SHA-256")
        return self._folder / "files" / digest

    def has(self, digest: str) -> bool:
        """Return whether the file is there. It is read and verified; a damaged one is removed."""
        path = self.path(digest)
        try:
            if sha256(path) == digest:
                return True
            path.unlink()
        except FileNotFoundError:
            pass
        return False

    def put(self, digest: str, offset: int, data: bytes, *, last: bool) -> None:
        """Write a piece of a file. Pieces come in order. After the last one the file is verified and gets its name.

        Raises:
            BadContent: A piece is missing, or the content has another hash. The file is discarded.
        """
        path = self.path(digest)
        draft = path.with_name(f".{digest}.{self._own}")
        with draft.open("ab" if offset else "wb") as file:
            if file.tell() != offset:
                raise BadContent(f"{file.tell()} bytes have arrived of the file {digest}, and {offset} were expected")
            file.write(data)
        if not last:
            return
        if sha256(draft) != digest:
            draft.unlink()
            raise BadContent(f"the file {digest} was damaged on its way")
        draft.chmod(0o444)
        draft.replace(path)

    def tree(self, files: Mapping[str, str]) -> Path:
        """Return a folder with these files and their list, as the launcher of the harness wants it.

        Args:
            files: Path relative to the folder -> SHA-256. The store has all of them.

        Raises:
            BadContent: A path leads out of the folder.
            OSError: A file is missing, or the folder cannot be written.
        """
        listed = json.dumps(dict(files), indent=1, sort_keys=True)
        folder = self._folder / "trees" / hashlib.sha256(listed.encode()).hexdigest()
        if folder.exists():
            used(folder)
            return folder
        draft = folder.with_name(f".{folder.name}.{self._own}")
        shutil.rmtree(draft, ignore_errors=True)
        self.place(files, draft)
        (draft / LIST).write_text(listed)
        try:
            draft.rename(folder)
        except OSError:  # another process has made it meanwhile
            shutil.rmtree(draft, ignore_errors=True)
            if not folder.exists():
                raise
        return folder

    def clean(self) -> None:
        """Remove what was interrupted on its way, the trees that no run has used for UNUSED_S seconds, and their files."""
        for folder in ("trees", "files"):
            for path in (self._folder / folder).iterdir():
                with contextlib.suppress(OSError):  # another process may have removed it
                    if _is_left(path, time.time()):
                        shutil.rmtree(path) if path.is_dir() else path.unlink()

    def remove_tree(self, folder: Path) -> None:
        """Remove a folder of `tree`, such as one with an altered file, so that it is made again."""
        shutil.rmtree(folder, ignore_errors=True)

    def place(self, files: Mapping[str, str], folder: Path) -> None:
        """Put files into a folder, as links if the file system allows it. Raises BadContent and OSError like `tree`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, digest in files.items():
            target = folder / relative(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                target.unlink()
            try:
                os.link(self.path(digest), target)
            except FileNotFoundError:
                raise
            except OSError:
                shutil.copyfile(self.path(digest), target)


def _is_left(path: Path, now: float) -> bool:
    """Return whether nobody needs a file or a tree. The times of a file are never changed: trees are checked by them."""
    status = path.stat()
    age = now - status.st_mtime
    if path.name.startswith("."):
        return age > DRAFT_S
    return age > UNUSED_S and (path.is_dir() or status.st_nlink == 1)  # a file of a tree has another link there


def used(folder: Path) -> None:
    """Note that a tree is used, by its modification time."""
    with contextlib.suppress(OSError):  # a cache of another user
        os.utime(folder)


def relative(name: str) -> PurePosixPath:
    """Return a relative path that stays inside of its folder. Raises BadContent for any other."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise BadContent(f"{name[:200]!r} is not a path inside a folder")
    return path
