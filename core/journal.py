"""The journal of a run: `events.jsonl`, append-only, one writer, one JSON object a line. The only truth about a run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from core.errors import Expected
from core.events import SCHEMA, AnyEvent, Created, Event, Torn

NAME = "events.jsonl"
PIECE_BYTES = 1 << 18  # what is decoded at once
LOOK_S = 0.5  # longer than anybody who only looks has the lock
RESERVE_BYTES = 1 << 20  # freed when the disk is full, so that the last words still fit

_decoder = msgspec.json.Decoder(AnyEvent)
_encoder = msgspec.json.Encoder()


class JournalError(Expected):
    """The journal cannot be trusted or written; the message is a sentence for a human."""


class RunBusy(Expected):
    """Another loop already works on this run."""


def decode(line: bytes, number: int, path: Path) -> AnyEvent:
    """One complete line to an event. Raises JournalError naming the line."""
    try:
        event: AnyEvent = _decoder.decode(line)
        return event
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalError(
            f"Line {number} of {path} is not a readable event ({error}). Nothing was changed and the run will not guess. "
            f"Restore that line from a backup, or go on from its best: make run ARGS='--name NEW --from {path.parent.name}'"
        ) from None


def read(path: Path) -> Iterator[AnyEvent]:
    """All complete events. A line without its newline is still being written and is left for later.

    Raises JournalError for a broken complete line, an unknown schema, or a first line that is no header.
    """
    yield from Reader(path).stream()


class Reader:
    """Follows a journal that may grow: `new()` returns the events completed since the last call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._line = 0

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
                f"run: make run ARGS='--name NEW'"
            ) from error

    def _decoded(self, data: bytes) -> list[AnyEvent]:
        try:
            events: list[AnyEvent] = _decoder.decode_lines(data)
        except (msgspec.DecodeError, UnicodeDecodeError):  # line by line, to name the broken one
            events = [decode(line, n, self.path) for n, line in enumerate(data.splitlines(), self._line + 1)]
        if self._line == 0 and events:
            _check_header(events[0], self.path)
        return events


def _check_header(event: AnyEvent, path: Path) -> None:
    if not isinstance(event, Created):
        raise JournalError(f"Line 1 of {path} is no header of a run. Nothing was changed; is this file a journal?")
    if event.v != SCHEMA:
        raise JournalError(
            f"{path} was written with schema {event.v}; this version reads schema {SCHEMA}. "
            f"Nothing was changed. Use the version that wrote it, or start a new run."
        )


class Lock:
    """One loop a run. Held for the life of the process, so the kernel frees it however the process ends."""

    def __init__(self, folder: Path) -> None:
        self._file: IO[str] = (folder / "lock").open("a+")
        deadline = time.monotonic() + LOOK_S
        while not (taken := self._take()) and time.monotonic() < deadline:
            time.sleep(0.01)  # who only looks whether it is taken (`alive`) has it for an instant, a loop for hours
        if not taken:
            self._file.seek(0)
            pid = self._file.read().strip() or "unknown"
            self._file.close()
            raise RunBusy(
                f"Run {folder.name} already has a loop (process {pid}); nothing was changed. "
                f"`make status` shows it, `make stop` ends it."
            )
        with contextlib.suppress(OSError):  # the number is only shown; on a full disk there is none
            self._file.seek(0)
            self._file.truncate()
            self._file.write(str(os.getpid()))
            self._file.flush()

    def _take(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def release(self) -> None:
        self._file.close()


def alive(folder: Path) -> int | None:
    """The pid of the loop that holds this run's lock, or None."""
    try:
        with (folder / "lock").open("r") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return int(file.read().strip() or 0)
    except OSError:
        pass
    return None


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
        line = _encoder.encode(stamped) + b"\n"
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
            os.fsync(self._fd)
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
