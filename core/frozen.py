"""What a run must not change under its feet: copies of the harness and the prepared data, made once and hashed."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from core.errors import Expected
from core.project import UsageError
from nanochat.contract.dataset import SOURCES

COPY_LIMIT = 64 << 20  # bytes; larger files are linked to and watched by size and time instead of copied


class Changed(Expected):
    """A frozen file is not what it was; the message is a sentence for a human."""


def freeze(source: Path, data: Path, folder: Path, *, anew: bool = False) -> None:
    """Copy the harness and the data into the run's folder, unless they are there already.

    `anew`: replace what is there, which a start that was cut short has left.
    """
    harness = folder / "harness"
    if anew:
        for name in ("harness", "data"):
            shutil.rmtree(folder / name, ignore_errors=True)
    if not harness.exists():
        draft = folder / "harness.new"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(
            source / "nanochat", draft / "nanochat", ignore=shutil.ignore_patterns("__pycache__", "train.py", "*.pyc")
        )
        draft.rename(harness)
    copy = folder / "data"
    if not copy.exists():
        draft = folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        for file in sorted(data.iterdir()):
            if not file.is_file() or file.name == SOURCES:
                continue
            if file.stat().st_size > COPY_LIMIT:
                (draft / file.name).symlink_to(file.resolve())
            else:
                shutil.copyfile(file, draft / file.name)
        draft.rename(copy)


class Seal:
    """The hashes of the frozen files, taken once and checked before and after each experiment.

    A file whose size, times and inode are unchanged is not read again, so a check costs a few stats.
    """

    def __init__(self, folder: Path) -> None:
        self._folders = (folder / "harness", folder / "data")
        self._stats: dict[Path, tuple[int, ...]] = {}
        self._hashes: dict[Path, str] = {}
        for path in self._files():
            self._stats[path] = _stat(path)
            self._hashes[path] = _hash(path)
        if not self._hashes:
            raise UsageError(f"{folder} lacks the copies of the harness and the data. Start a new run with --from.")

    def _files(self) -> list[Path]:
        return [path for folder in self._folders for path in sorted(folder.rglob("*")) if path.is_file()]

    def check(self) -> None:
        """Raises Changed when a frozen file was altered, added or removed."""
        files = self._files()
        if set(files) != set(self._hashes):
            odd = sorted(str(path) for path in set(files) ^ set(self._hashes))
            raise Changed(f"The run's own copies changed: {odd[0]} appeared or vanished. The result is not counted.")
        for path in files:
            stat = _stat(path)
            if stat != self._stats[path]:
                if _hash(path) != self._hashes[path]:
                    raise Changed(f"The run's own copy {path} was altered. The result is not counted.")
                self._stats[path] = stat


def _stat(path: Path) -> tuple[int, ...]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
