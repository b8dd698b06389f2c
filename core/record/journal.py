"""The journal of a run: `events.jsonl`, append-only, one writer, one JSON object a line. The only truth about a run."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import platform
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from core.errors import UserError
from core.record.events import SCHEMA, AnyEvent, Created, Event, Started, Torn
from core.record.upgrade import upgraded
from nanochat.contract.shell import make

NAME, LOCK = "events.jsonl", "lock"
PIECE_BYTES = 1 << 18  # what is decoded at once
LOOK_S = 0.5  # longer than anybody who only looks has the lock
SETTLE_S = 0.5  # two who write their names into the same file at once both see by then who was last
STARTS = (b'\n{"type":"created",', b'\n{"type":"started",')  # how the lines begin that begin a run and a loop
NO_FSYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)  # of a file system that cannot do it
RESERVE_BYTES = 1 << 20  # freed when the disk is full, so that the last words still fit

_decoder = msgspec.json.Decoder(AnyEvent)
_encoder = msgspec.json.Encoder()


class JournalError(UserError):
    """The journal cannot be trusted or written; the message is a sentence for a human."""


class RunBusy(UserError):
    """Another loop already works on this run."""


def decode(line: bytes, number: int, path: Path) -> AnyEvent:
    """One complete line of any schema to an event. Raises JournalError naming the line."""
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalError(
            f"Line {number} of {path} is not a readable event ({error}). Nothing was changed and the run will not guess. "
            f"Restore that line from a backup, or go on from its best: {make('run', '--name', 'NEW', '--from', path.parent.name)}"
        ) from None


def _decode(line: bytes, schema: int | None = None) -> AnyEvent:
    """Decode a line of a known or unknown schema. Raises DecodeError and UnicodeDecodeError."""
    if schema != 1:
        try:
            event: AnyEvent = _decoder.decode(line)
            return event
        except msgspec.ValidationError:
            if schema is not None:
                raise
    event = msgspec.convert(upgraded(msgspec.json.decode(line, type=dict[str, object])), AnyEvent)
    return event


def read(path: Path) -> Iterator[AnyEvent]:
    """All complete events. A line without its newline is still being written and is left for later.

    Raises JournalError for a broken complete line, an unknown schema, or a first line that is no header.
    """
    yield from Reader(path).stream()


def _as_text(value: object) -> object:
    """The same with all that is no text written as its number, for JSON."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list | tuple):
        return [_as_text(item) for item in value]
    return {name: _as_text(item) for name, item in value.items()} if isinstance(value, dict) else value


class Reader:
    """Follows a journal that may grow: `new()` returns the events completed since the last call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._line = 0
        self._schema: int | None = None  # as the header says

    def grown(self) -> bool:
        """Whether there is more than was read: cheap, for those who look often."""
        return self.path.stat().st_size > self._offset

    def new(self) -> list[AnyEvent]:
        return list(self.stream())

    def stream(self) -> Iterator[AnyEvent]:
        """The same one by one, for a fold: a long night is decoded in pieces, which is quicker and never there as a whole.

        After a JournalError the next call begins where this one did.
        """
        offset, line = self._offset, self._line
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                whole = True
                while whole and (data := file.read(PIECE_BYTES) + file.readline()):
                    end = len(data) if data.endswith(b"\n") else data.rfind(b"\n") + 1
                    events = self._decoded(data[:end])
                    self._line += len(events)
                    self._offset += end
                    yield from events
                    whole = end == len(data)  # a rest that has come meanwhile is for the next call
        except FileNotFoundError:
            raise
        except (JournalError, OSError) as error:
            self._offset, self._line = offset, line
            if isinstance(error, JournalError):
                raise
            raise JournalError(
                f"{self.path} cannot be read ({error.strerror or error}). Nothing was changed. Put that right, or start another "
                f"run: {make('run', '--name', 'NEW')}"
            ) from error

    def _decoded(self, data: bytes) -> list[AnyEvent]:
        if self._line == 0 and data:
            self._schema = _schema(data.partition(b"\n")[0], self.path)
        try:
            if self._schema == 1:
                return [_decode(line, 1) for line in data.splitlines()]
            events: list[AnyEvent] = _decoder.decode_lines(data)
        except (msgspec.DecodeError, UnicodeDecodeError):  # line by line, to name the broken one
            events = [decode(line, n, self.path) for n, line in enumerate(data.splitlines(), self._line + 1)]
        return events


class _Header(msgspec.Struct):
    """What the first line of a journal of any schema has."""

    type: str = ""
    v: int = 0


def _schema(line: bytes, path: Path) -> int:
    """The schema of a journal, by its first line. Raises JournalError where this version cannot read it."""
    try:
        header = msgspec.json.decode(line, type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        decode(line, 1, path)  # says what is wrong with it
        raise
    if header.type != "created":
        decode(line, 1, path)
        raise JournalError(f"Line 1 of {path} is no header of a run. Nothing was changed; is this file a journal?")
    if not 1 <= header.v <= SCHEMA:
        raise JournalError(
            f"{path} was written with schema {header.v}; this version reads schemas 1 to {SCHEMA}. "
            f"Nothing was changed. Use the version that wrote it, or start a new run."
        )
    return header.v


def sync(file: int) -> None:
    """As safe as the file system can make it: some cannot do that at all. Raises OSError for what is really wrong."""
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in NO_FSYNC:
            raise


def holds(folder: Path) -> bool:
    """Whether a run's journal is in this folder: one that is not empty. True where that cannot be found out."""
    try:
        return (folder / NAME).stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def last_start(folder: Path) -> tuple[int, float, bool]:
    """When the loop of a run was started last: its turn, the time, and whether the run has its own name. Later starts compare greater.

    Turns come first, since a clock may have been wrong; journals without them are the older ones. Of two copies of a folder the one
    that has the name is the run. (0, 0.0, False) where there is no start yet. Only the lines that tell it are decoded, so a journal
    that is broken elsewhere does not matter.
    """
    try:
        data = b"\n" + (folder / NAME).read_bytes()
    except OSError:
        return 0, 0.0, False
    turn, at, own = 0, 0.0, False
    for start in STARTS:
        found = data.find(start)
        while found >= 0:
            end = data.find(b"\n", found + 1)
            try:
                event = _decode(data[found + 1 : end if end >= 0 else len(data)])
            except (msgspec.DecodeError, UnicodeDecodeError):
                event = None  # torn, or broken
            if isinstance(event, Created | Started):
                turn, at = max(turn, event.turn), event.t
                own = own or (isinstance(event, Created) and event.config.name == folder.name)
            found = data.find(start, found + 1)
    return turn, at, own


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


class Journal:
    """The one writer of a journal. Make it while holding the run's Lock."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._reserve = folder / "reserve"
        self._torn = self._cut_torn_line() if self.path.exists() else 0
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._end = os.fstat(self._fd).st_size
        self.keep_reserve()

    def open(self) -> list[AnyEvent]:
        """The events so far; a torn line that was cut off is recorded first."""
        if self._torn and self._end:
            self.append(Torn(size=self._torn))
        self._torn = 0
        return list(read(self.path)) if self._end else []

    def append(self, event: Event) -> AnyEvent:
        """Stamp, write, flush and fsync one event; all of it or nothing.

        Raises JournalError when not even the reserved space helps.
        """
        stamped: AnyEvent = msgspec.structs.replace(event, t=round(time.time(), 3))  # type: ignore[assignment]
        try:
            line = _encoder.encode(stamped) + b"\n"
        except UnicodeEncodeError:  # a path whose bytes are no text
            line = _encoder.encode(_as_text(msgspec.to_builtins(stamped))) + b"\n"
            stamped = _decoder.decode(line)
        _decoder.decode(line)  # what cannot be read again must never stand in it: a bug then ends the loop, not the run
        try:
            self._write(line)
        except OSError:
            self._reserve.unlink(missing_ok=True)
            try:
                self._write(line)
            except OSError as error:
                raise JournalError(
                    f"{self.path} cannot be written ({error.strerror}). All that was recorded before is kept. "
                    f"Free some space and start the run again; it goes on where it was."
                ) from error
        return stamped

    def _write(self, line: bytes) -> None:
        try:
            written = 0
            while written < len(line):
                written += os.write(self._fd, line[written:])
            sync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self._end)  # never leave half a line before another attempt
            raise
        self._end += len(line)

    def keep_reserve(self) -> None:
        """Set some space aside for the last words; called again when a full disk has room once more."""
        if not self._reserve.exists():
            try:
                self._reserve.write_bytes(b"\0" * RESERVE_BYTES)
            except OSError:
                self._reserve.unlink(missing_ok=True)

    def _cut_torn_line(self) -> int:
        data = self.path.read_bytes()
        torn = len(data) - (data.rfind(b"\n") + 1)
        if torn:
            os.truncate(self.path, len(data) - torn)
        return torn

    def close(self) -> None:
        os.close(self._fd)
        self._reserve.unlink(missing_ok=True)
