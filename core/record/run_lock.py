"""The lock of a run: one loop at a time works on it, and everybody else can see which."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import time
import uuid
from pathlib import Path
from typing import IO

import msgspec

from core.errors import UserError

LOCK = "lock"
LOOK_S = 0.5  # longer than anybody who only looks has the lock
SETTLE_S = 0.5  # two who write their names into the same file at once both see by then who was last


class RunBusy(UserError):
    """Another loop already works on this run."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """What the file `lock` says of the process that works on a run."""

    pid: int
    started: float = (
        0.0  # of the process, in whatever unit the system counts; with `boot` it tells a later process of that number
    )
    boot: str = ""
    host: str = ""
    loop: bool = True  # False: a final report

    @classmethod
    def me(cls, loop: bool) -> Holder:
        return cls(pid=os.getpid(), started=_started(os.getpid()) or 0.0, boot=_boot(), host=platform.node(), loop=loop)

    @property
    def elsewhere(self) -> bool:
        """Whether it works on another machine, or in another container, where nothing here can tell whether it still does."""
        return bool(self.host) and self.boot != _boot() and self.host != platform.node()

    @property
    def lives(self) -> bool:
        """Whether that very process is there. On another machine it is taken to be there."""
        return self.elsewhere or (self.boot == _boot() and _started(self.pid) == self.started)


def _boot() -> str:
    """What differs from machine to machine; on Linux also from one start of it to the next, and from container to container."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return f"{uuid.getnode():x}"


def _started(pid: int) -> float | None:
    """When a process started; None when there is no such process. On Linux in clock ticks since boot, which a change of the time leaves alone."""
    if Path("/proc/self/stat").exists():
        try:
            state, *fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
            return None if state in (b"Z", b"X") else float(fields[18])
        except (OSError, ValueError, IndexError):
            return None
    import psutil  # where it is needed; who only reads a journal does without

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return None


def _holder(folder: Path) -> Holder | None:
    try:
        data = (folder / LOCK).read_bytes()
        return Holder(pid=int(data)) if data.strip().isdigit() else msgspec.json.decode(data, type=Holder)
    except (OSError, ValueError, msgspec.DecodeError):
        return None


def _flock(file: IO[str], how: int) -> bool | None:
    """Whether the lock could be had; None where the file system has no locks that work."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN) else None
    return True


class Lock:
    """One loop a run. The kernel frees it however the process ends.

    On a file system without locks the file `lock` itself tells: it names the process, which is looked for.
    """

    def __init__(self, folder: Path, *, loop: bool = True) -> None:
        """`loop`: False for a final report, which holds the lock without being a loop. Raises RunBusy and OSError."""
        self._folder, self._me = folder, Holder.me(loop)
        self._file: IO[str] = (folder / LOCK).open("a+")
        try:
            deadline = time.monotonic() + LOOK_S
            while (taken := _flock(self._file, fcntl.LOCK_EX)) is False and time.monotonic() < deadline:
                time.sleep(0.01)  # who only looks whether it is taken (`alive`) has it for an instant, a loop for hours
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
        except OSError:  # no room even for that; an empty file would say that a run is here
            with contextlib.suppress(OSError):
                (self._folder / LOCK).unlink()
            raise

    def _same_file(self) -> bool:
        """Whether the file that was opened is still the one in the folder: a start that gave up removes it."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._folder / LOCK))
        except OSError:
            return False

    def _take_by_name(self) -> None:
        """Write this process into the file, unless a living process stands there. If two try at once, the later one gets the lock."""
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
            return RunBusy(f"A final report of run {name} is being made (process {holder.pid}); nothing was changed.")
        return RunBusy(
            f"Run {name} already has a loop (process {holder.pid}); nothing was changed. "
            f"`make status` shows it, `make stop` ends it."
        )

    def release(self) -> None:
        if _holder(self._folder) == self._me:
            with contextlib.suppress(OSError):  # so that nobody takes the process for a loop who cannot ask the kernel
                os.truncate(self._folder / LOCK, 0)
        self._file.close()


def alive(folder: Path) -> int | None:
    """The pid of the loop that works on this run, or None. A final report is no loop."""
    try:
        with (folder / LOCK).open("r") as file:
            free = _flock(file, fcntl.LOCK_SH)
            holder = None if free else _holder(folder)
    except OSError:
        return None
    if free is False:  # the kernel says so, whatever the file says
        return (holder.pid if holder.loop else None) if holder else 0
    return holder.pid if holder is not None and holder.loop and holder.lives else None
