"""The journal of a run, `events.jsonl`: append-only, one writer, one JSON object a line. All other files derive from it."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from core.errors import UserError
from core.record.events import SCHEMA, AnyEvent, Created, Event, Started, Torn
from core.record.upgrade import upgraded, with_fitting_notes
from nanochat.contract.shell import make

NAME = "events.jsonl"
PIECE_BYTES = 1 << 18  # how much is decoded at once
STARTS = (b'\n{"type":"created",', b'\n{"type":"started",')  # how lines with the events `created` and `started` begin
NO_FSYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)  # errors of file systems without fsync
RESERVE_BYTES = 1 << 20  # freed when the disk is full, so that the last events still fit

_decoder = msgspec.json.Decoder(AnyEvent)
_encoder = msgspec.json.Encoder()


class JournalError(UserError):
    """The journal cannot be read or written. The message is shown to the user."""


DELETED = "Run {run} is gone: it was deleted or moved. Nothing was changed. `make runs` lists the runs that are there."


class RunGone(JournalError):
    """The run that was read is gone: it was deleted or moved, or another run has its name."""


def decode(line: bytes, number: int, path: Path, schema: int | None = None) -> AnyEvent:
    """Decode one complete line of the given schema, or of any schema for None. Raises JournalError that names the line."""
    try:
        return _decode(line, schema)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise JournalError(
            f"Line {number} of {path} is not a readable event ({error}). Nothing was changed. "
            f"Restore the line from a backup, or start a new run from the best train.py of this run: "
            f"{make('run', '--name', 'NEW', '--from', path.parent.name)}"
        ) from None


def _decode(line: bytes, schema: int | None = None) -> AnyEvent:
    """Decode a line of a known or unknown schema. Raises DecodeError and UnicodeDecodeError."""
    if schema != 1:
        try:
            event: AnyEvent = _decoder.decode(line)
            return event
        except msgspec.ValidationError:
            pass  # it is damaged, or of schema 1, or its notes have other types
    fields = msgspec.json.decode(line, type=dict[str, object])
    converted = with_fitting_notes if schema == SCHEMA else upgraded
    try:
        event = msgspec.convert(converted(fields), AnyEvent)
    except (KeyError, AttributeError, TypeError) as error:
        raise msgspec.ValidationError(f"a field is missing or of another kind: {error}") from error
    return event


def read(path: Path) -> Iterator[AnyEvent]:
    """Yield all complete events. A last line without a newline is still being written and is skipped.

    Raises:
        JournalError: A complete line cannot be decoded, the schema is unknown, or the first line is not a header.
        FileNotFoundError: There is no journal.
    """
    yield from Reader(path).stream()


def _as_text(value: object) -> object:
    """Return the value with undecodable bytes in strings written as escapes, so that it can be encoded as JSON."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, list | tuple):
        return [_as_text(item) for item in value]
    return {name: _as_text(item) for name, item in value.items()} if isinstance(value, dict) else value


class Reader:
    """Follows a journal that grows: `new()` returns the events that were completed since the last call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0
        self._line = 0
        self._schema: int | None = None  # from the header
        self._first = b""  # the first line, which no other run has
        self._file = (0, 0)  # device and inode

    def grown(self) -> bool:
        """Return whether there is more to read, or the file is another one than before. Cheap, for frequent polling."""
        try:
            status = self.path.stat()
        except OSError:
            return True  # `new` says why
        return status.st_size != self._offset or (status.st_dev, status.st_ino) != self._file

    def check(self) -> None:
        """Raise RunGone if the run that was read is gone."""
        with contextlib.suppress(OSError):
            self._open().close()

    def new(self) -> list[AnyEvent]:
        return list(self.stream())

    def stream(self) -> Iterator[AnyEvent]:
        """Yield the new events. The file is decoded in pieces, so a long journal is never held in memory as a whole.

        After a JournalError the next call begins at the same place. Raises RunGone if the run that was read is gone.
        """
        offset, line = self._offset, self._line
        try:
            with self._open() as file:
                self._note_file(file)
                file.seek(offset)
                whole = True
                while whole and (data := file.read(PIECE_BYTES) + file.readline()):
                    end = len(data) if data.endswith(b"\n") else data.rfind(b"\n") + 1
                    events = self._decoded(data[:end])
                    self._line += data[:end].count(b"\n")
                    self._offset += end
                    yield from events
                    whole = end == len(data)  # an incomplete line is left for the next call
        except FileNotFoundError:
            raise
        except (JournalError, OSError) as error:
            self._offset, self._line = offset, line
            if isinstance(error, JournalError):
                raise
            raise JournalError(
                f"{self.path} cannot be read ({error.strerror or error}). Nothing was changed. Fix this, or start another "
                f"run: {make('run', '--name', 'NEW')}"
            ) from error

    def _open(self) -> BinaryIO:
        """Open the journal. Raises RunGone if it is not the one that was read so far."""
        name = self.path.parent.name
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            if not self._offset:
                raise
            raise RunGone(DELETED.format(run=name)) from None
        if self._offset and file.read(len(self._first)) != self._first:
            file.close()
            raise RunGone(
                f"Run {name} is gone: its name belongs to another run now. Nothing was changed. Close this and open it again to "
                f"see that run."
            )
        return file

    def _note_file(self, file: BinaryIO) -> None:
        """Remember which file it is. Raises JournalError if lines that were read are gone."""
        status = os.fstat(file.fileno())
        self._file = status.st_dev, status.st_ino
        if status.st_size < self._offset:
            raise JournalError(
                f"{self.path} has lost lines that were read before. Nothing was changed. Close this and open it again to see "
                f"what is left."
            )

    def _decoded(self, data: bytes) -> list[AnyEvent]:
        if self._line == 0 and data:
            first = data.partition(b"\n")[0]
            self._schema, self._first = _schema(first, self.path), first + b"\n"
        try:
            if self._schema == 1:
                return [_decode(line, 1) for line in data.splitlines() if line.strip()]
            events: list[AnyEvent] = _decoder.decode_lines(data)
        except (msgspec.DecodeError, UnicodeDecodeError):  # line by line, to name the broken one
            numbered = enumerate(data.splitlines(), self._line + 1)
            events = [decode(line, n, self.path, self._schema) for n, line in numbered if line.strip()]
        return events


class _Header(msgspec.Struct):
    """The fields that the first line of a journal has in every schema."""

    type: str = ""
    v: int = 0


def _schema(line: bytes, path: Path) -> int:
    """Return the schema of a journal from its first line. Raises JournalError if this version cannot read it."""
    try:
        header = msgspec.json.decode(line, type=_Header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        header = _Header()
    if header.type != "created":
        decode(line, 1, path)  # raises a more precise error if the line is not an event at all
        raise JournalError(f"Line 1 of {path} is not the header of a run. Nothing was changed; is this file a journal?")
    if not 1 <= header.v <= SCHEMA:
        raise JournalError(
            f"{path} was written with schema {header.v}; this version reads schemas 1 to {SCHEMA}. "
            f"Nothing was changed. Use the version that wrote it, or start a new run."
        )
    return header.v


def schema(folder: Path) -> int | None:
    """Return the schema of a run's journal, or None if there is no journal or its first line cannot be read."""
    try:
        with (folder / NAME).open("rb") as file:
            return _schema(file.readline(), folder / NAME)
    except (OSError, JournalError):
        return None


def sync(file: int) -> None:
    """Call fsync, unless the file system does not support it. Raises OSError for other errors."""
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in NO_FSYNC:
            raise


def holds(folder: Path) -> bool:
    """Return whether the folder has a journal that is not empty. True if that cannot be determined."""
    try:
        return (folder / NAME).stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def last_start(folder: Path) -> tuple[int, float, bool]:
    """Return a key for the last start of a run's loop: its turn, its time, and whether the folder has the run's own name.

    Later starts compare greater. Turns come first, since clocks may be wrong; journals without turns are older. Of two copies
    of a folder the one with the run's name compares greater. Without a start the key is (0, 0.0, False). Only the lines with
    starts are decoded, so damage elsewhere in the journal does not matter.
    """
    try:
        data = b"\n" + (folder / NAME).read_bytes()
    except OSError:
        return 0, 0.0, False
    turn, at, own = 0, 0.0, False
    for start in STARTS:
        position = data.find(start)
        while position >= 0:
            end = data.find(b"\n", position + 1)
            try:
                event = _decode(data[position + 1 : end if end >= 0 else len(data)])
            except (msgspec.DecodeError, UnicodeDecodeError):
                event = None  # torn, or broken
            if isinstance(event, Created | Started):
                turn, at = max(turn, event.turn), event.t
                own = own or (isinstance(event, Created) and event.config.name == folder.name)
            position = data.find(start, position + 1)
    return turn, at, own


class Journal:
    """The only writer of a journal. Create it while holding the run's `Lock`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._reserve = folder / "reserve"
        self._torn = self._cut_torn_line() if self.path.exists() else 0
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._end = os.fstat(self._fd).st_size
        self.keep_reserve()

    def open(self) -> list[AnyEvent]:
        """Return the events so far. If an incomplete last line was cut off, that is recorded first."""
        if self._torn and self._end:
            self.append(Torn(size=self._torn))
        self._torn = 0
        return list(read(self.path)) if self._end else []

    def append(self, event: Event) -> AnyEvent:
        """Add the time to an event, write it and fsync it. A line that cannot be written completely is removed.

        Returns:
            The event with its time.

        Raises:
            JournalError: It cannot be written, even after the reserved space was freed.
        """
        stamped: AnyEvent = msgspec.structs.replace(event, t=round(time.time(), 3))  # type: ignore[assignment]
        try:
            line = _encoder.encode(stamped) + b"\n"
        except UnicodeEncodeError:  # a path with undecodable bytes
            line = _encoder.encode(_as_text(msgspec.to_builtins(stamped))) + b"\n"
            stamped = _decoder.decode(line)
        _decoder.decode(line)  # a line that cannot be read again must not be written: a bug ends the loop, not the run
        try:
            self._write(line)
        except OSError:
            self._reserve.unlink(missing_ok=True)
            try:
                self._write(line)
            except OSError as error:
                raise JournalError(
                    f"{self.path} cannot be written ({error.strerror}). All that was recorded before is kept. "
                    f"Free some space and start the run again; it resumes where it stopped."
                ) from error
        return stamped

    def _write(self, line: bytes) -> None:
        try:
            written = 0
            while written < len(line):
                written += os.write(self._fd, line[written:])
            sync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self._end)  # remove an incomplete line
            raise
        self._end += len(line)

    def keep_reserve(self) -> None:
        """Reserve disk space for the last events. Called again when a full disk has room again."""
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
