"""The files of a run that a node needs, and the files of a job that come back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from core.execution.base import ExecutorFailed
from core.execution.cluster.content import relative
from core.execution.cluster.messages import COMPILED, GROWING, NATS, WEIGHTS, Tail
from core.execution.launch import LIST
from core.machine.file_hashes import sha256
from nanochat.contract.job import Job

REFERENCE = "baseline.npy"  # name of that file of a job on the node


def frozen(folder: Path) -> dict[str, str]:
    """Return the frozen copies of a run: path relative to its folder -> SHA-256. Raises ExecutorFailed."""
    try:
        return msgspec.json.decode((folder / LIST).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.MsgspecError) as error:
        raise ExecutorFailed(
            f"{folder / LIST} cannot be read ({error}), so no node can get the run's harness. Nothing was changed."
        ) from error


class Sources:
    """The files of this machine that nodes may ask for, by their hash.

    Args:
        folder: The folder of the run.
        files: Its frozen copies.
    """

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        self._paths = {digest: folder / name for name, digest in files.items()}
        self._known: dict[Path, tuple[tuple[int, int], str]] = {}  # path -> (size, mtime) and hash

    def of_job(self, job: Job) -> dict[str, str]:
        """Return the files that a job reads besides train.py and the frozen copies: name on the node -> SHA-256.

        Raises:
            OSError: One cannot be read.
        """
        files: dict[str, str] = {}
        for name, path in _inputs(job):
            status = os.stat(path)
            key = status.st_size, status.st_mtime_ns
            if path not in self._known or self._known[path][0] != key:
                self._known[path] = key, sha256(path)
            files[name] = self._known[path][1]
            self._paths[files[name]] = path
        return files

    def path(self, digest: str) -> Path:
        """Return where the file with this hash lies. Raises KeyError if no node may ask for it."""
        return self._paths[digest]


def _inputs(job: Job) -> Iterator[tuple[str, Path]]:
    if job.reference is not None:
        yield REFERENCE, Path(job.reference)
    if job.compiled is not None:
        for path in sorted(Path(job.compiled).rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield f"{COMPILED}/{path.relative_to(job.compiled).as_posix()}", path


def plain(job: Job) -> Job:
    """Return a job without paths of this machine. Those of files that go along are replaced by their names."""
    return msgspec.structs.replace(
        job, source="", out="", data="",
        reference=REFERENCE if job.reference is not None else None, compiled=COMPILED if job.compiled is not None else None,
    )  # fmt: skip


def may_leave(job: Job, name: str) -> bool:
    """Return whether a job may leave a file of this name in its folder."""
    if name.startswith(f"{COMPILED}/"):
        return job.keep_compiled and ".." not in name.split("/")
    return name in (*GROWING, NATS) or (name == WEIGHTS and job.keep_weights)


class Mirror:
    """Writes what comes back from a node to the folder of the job. A full disk must not end the training."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self.sizes = dict.fromkeys(GROWING, 0)

    def add(self, tails: Mapping[str, Tail]) -> None:
        """Write new bytes of growing files."""
        for name in GROWING:
            if (tail := tails.get(name)) is None or not 0 <= tail.start <= self.sizes[name]:
                continue
            with contextlib.suppress(OSError), (self._out / name).open("r+b" if tail.start else "wb") as file:
                file.seek(tail.start)
                file.write(tail.data)
                file.truncate()
                self.sizes[name] = tail.start + len(tail.data)

    @contextlib.contextmanager
    def whole(self, name: str) -> Iterator[WholeFile]:
        """Write a whole file: it gets its name at the end of the context, if all of it was written.

        Raises:
            ValueError: The name leads out of the folder.
        """
        path = self._out / relative(name)
        file = WholeFile(path)
        try:
            yield file
            file.finish()
        finally:
            file.discard()


class WholeFile:
    """A file that is written in pieces, under another name until it is complete."""

    def __init__(self, path: Path) -> None:
        self._path, self._draft = path, path.with_name(f".{path.name}.new")
        self._intact = True

    def write(self, data: bytes) -> None:
        """Append a piece. A failure discards the file."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._draft.open("ab") as file:
                file.write(data)
        except OSError:
            self._intact = False

    def finish(self) -> None:
        """Give the file its name."""
        if self._intact:
            with contextlib.suppress(OSError):
                os.replace(self._draft, self._path)

    def discard(self) -> None:
        """Remove what has no name yet."""
        with contextlib.suppress(OSError):
            self._draft.unlink(missing_ok=True)
