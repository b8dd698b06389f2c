"""The journal of a run: `events.jsonl`, append-only, one writer, one JSON object a line. The only truth about a run."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from core.errors import UserError
from core.record.events import SCHEMA, AnyEvent, Created, Event, Started, Torn
from core.record.upgrade import upgraded
from nanochat.contract.shell import make

NAME = "events.jsonl"
PIECE_BYTES = 1 << 18  # what is decoded at once
STARTS = (b'\n{"type":"created",', b'\n{"type":"started",')  # how the lines begin that begin a run and a loop
NO_FSYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)  # of a file system that cannot do it
RESERVE_BYTES = 1 << 20  # freed when the disk is full, so that the last words still fit

_decoder = msgspec.json.Decoder(AnyEvent)
_encoder = msgspec.json.Encoder()


class JournalError(UserError):
    """The journal cannot be trusted or written; the message is a sentence for a human."""


def decode(line: bytes, number: int, path: Path, schema: int | None = None) -> AnyEvent:
    """One complete line to an event; of any schema where that is not known. Raises JournalError naming the line."""
    try:
        return _decode(line, schema)
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
    fields = msgspec.json.decode(line, type=dict[str, object])
    try:
        event = msgspec.convert(upgraded(fields), AnyEvent)
    except (KeyError, AttributeError, TypeError) as error:
        raise msgspec.ValidationError(f"a field is missing or of another kind: {error}") from error
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
                    self._line += data[:end].count(b"\n")
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
                return [_decode(line, 1) for line in data.splitlines() if line.strip()]
            events: list[AnyEvent] = _decoder.decode_lines(data)
        except (msgspec.DecodeError, UnicodeDecodeError):  # line by line, to name the broken one
            numbered = enumerate(data.splitlines(), self._line + 1)
            events = [decode(line, n, self.path, self._schema) for n, line in numbered if line.strip()]
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
        header = _Header()
    if header.type != "created":
        decode(line, 1, path)  # says what is wrong with it, if it is no event at all
        raise JournalError(f"Line 1 of {path} is no header of a run. Nothing was changed; is this file a journal?")
    if not 1 <= header.v <= SCHEMA:
        raise JournalError(
            f"{path} was written with schema {header.v}; this version reads schemas 1 to {SCHEMA}. "
            f"Nothing was changed. Use the version that wrote it, or start a new run."
        )
    return header.v


def schema(folder: Path) -> int | None:
    """The schema of a run's journal; None where there is none, or its first line cannot be read."""
    try:
        with (folder / NAME).open("rb") as file:
            return _schema(file.readline(), folder / NAME)
    except (OSError, JournalError):
        return None


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
