"""The lock of a run. Only one loop at a time works on a run, and others can see which process it is."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import time
from pathlib import Path
from typing import IO

import msgspec

from core.errors import UserError
from core.record.process_start import boot, started

LOCK = "lock"
LOOK_S = 0.5  # longer than `alive` holds the lock
SETTLE_S = 0.5  # after this, two processes that wrote the file at the same time both see which was last


class RunBusy(UserError):
    """Another loop already works on this run."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the file `lock`: the process that works on a run."""

    pid: int
    started: float = 0.0  # start time in the system's unit; with `boot` it detects a reused pid
    boot: str = ""
    host: str = ""
    loop: bool = True  # False for a final report or an export

    @classmethod
    def me(cls, loop: bool) -> Holder:
        return cls(pid=os.getpid(), started=started(os.getpid()) or 0.0, boot=boot(), host=platform.node(), loop=loop)

    @property
    def elsewhere(self) -> bool:
        """Whether it is on another machine or in another container, where its state cannot be seen from here."""
        return bool(self.host) and self.boot != boot() and self.host != platform.node()

    @property
    def lives(self) -> bool:
        """Whether the same process still exists. On another machine it is assumed to exist."""
        return self.elsewhere or (self.boot == boot() and started(self.pid) == self.started)


def _holder(folder: Path) -> Holder | None:
    try:
        data = (folder / LOCK).read_bytes()
        return Holder(pid=int(data)) if data.strip().isdigit() else msgspec.json.decode(data, type=Holder)
    except (OSError, ValueError, msgspec.DecodeError):
        return None


def _flock(file: IO[str], how: int) -> bool | None:
    """Try to lock the file. Returns whether that succeeded, or None if the file system has no working locks."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN) else None
    return True


class Lock:
    """The lock of a run. The kernel releases it whenever the process ends.

    On a file system without locks the file `lock` names the process, and the lock counts while that process exists.

    Args:
        folder: The folder of the run.
        loop: False for a final report, which holds the lock but is not a loop.

    Raises:
        RunBusy: Another process holds the lock.
        OSError: The file cannot be written.
    """

    def __init__(self, folder: Path, *, loop: bool = True) -> None:
        self._folder, self._me = folder, Holder.me(loop)
        self._file: IO[str] = (folder / LOCK).open("a+")
        try:
            deadline = time.monotonic() + LOOK_S
            while (taken := _flock(self._file, fcntl.LOCK_EX)) is False and time.monotonic() < deadline:
                time.sleep(0.01)  # `alive` holds the lock only for a moment
            if taken is False or not self._same_file():
                raise self._busy()
            if taken is None:
                self._take_by_name()
            else:
                self._say_who()
        except BaseException:
            self._file.close()
            raise

    def _say_who(self) -> None:
        try:
            self._file.truncate(0)
            self._file.write(msgspec.json.encode(self._me).decode())
            self._file.flush()
        except OSError:  # the disk is full; an empty file would look like a run
            with contextlib.suppress(OSError):
                (self._folder / LOCK).unlink()
            raise

    def _same_file(self) -> bool:
        """Return whether the opened file is still the one in the folder. A failed start removes it."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._folder / LOCK))
        except OSError:
            return False

    def _take_by_name(self) -> None:
        """Write this process into the file, unless it names a living process. Of two at the same time the later one wins."""
        before = _holder(self._folder)
        if before is not None and before.lives:
            raise self._busy()
        draft = self._folder / f"{LOCK}.{self._me.pid}"
        draft.write_bytes(msgspec.json.encode(self._me))
        os.replace(draft, self._folder / LOCK)
        time.sleep(SETTLE_S)
        if _holder(self._folder) != self._me:
            raise self._busy()

    def _busy(self) -> RunBusy:
        holder, name = _holder(self._folder), self._folder.name
        if holder is None:
            return RunBusy(
                f"Run {name} already has a loop; nothing was changed. `make status` shows it, `make stop` ends it."
            )
        if holder.elsewhere:
            return RunBusy(
                f"Run {name} already has a loop (process {holder.pid} on {holder.host}); nothing was changed. Stop it there. "
                f"If that machine is gone for good, remove {self._folder / LOCK}."
            )
        if not holder.loop:
            return RunBusy(
                f"A final report or an export of run {name} is being made (process {holder.pid}); nothing was changed."
            )
        return RunBusy(
            f"Run {name} already has a loop (process {holder.pid}); nothing was changed. "
            f"`make status` shows it, `make stop` ends it."
        )

    def release(self) -> None:
        if _holder(self._folder) == self._me:
            with contextlib.suppress(OSError):  # for readers on a file system without locks
                os.truncate(self._folder / LOCK, 0)
        self._file.close()


def alive(folder: Path) -> int | None:
    """Return the pid of the loop that works on this run, 0 if it is unknown, or None without a loop.

    A final report does not count as a loop.
    """
    holder = worker(folder)
    return holder.pid if holder is not None and holder.loop else None


def worker(folder: Path) -> Holder | None:
    """Return the process that works on this run (a loop, a final report or an export), or None. Its pid is 0 if it is unknown."""
    try:
        with (folder / LOCK).open("r") as file:
            free = _flock(file, fcntl.LOCK_SH)
            holder = None if free else _holder(folder)
    except OSError:
        return None
    if free is False:  # the kernel says that it is locked
        return holder or Holder(pid=0)
    return holder if holder is not None and holder.lives else None
