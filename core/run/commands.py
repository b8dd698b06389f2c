"""Commands from any app or shell to the running loop: JSON lines over a Unix socket, each one acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from core.errors import UserError
from core.machine import temporary
from core.record import run_lock
from core.verdicts import Verdict
from nanochat.contract.value import Data

PRIVATE, SOCKET = "loop", "s"  # a folder for the user alone, in the run's own, and the socket in it
PREFIX = "autoresearch-"  # how such a folder is called elsewhere
ADDRESS = "socket"  # the file in the run's folder that holds the socket's path
LONGEST = 100  # bytes of a socket's path: systems take 103 to 107
ROOM = len(f"/{PREFIX}12345678/{SOCKET}")
RETRY_S = 60.0  # between two tries to find a place for the socket
COMES_BACK_S = 3.0  # within this a living loop makes a socket anew that was removed
TIMEOUT_S = 10.0
LINE_LIMIT = 1 << 20


class Message(Data, frozen=True, kw_only=True, tag_field="cmd", tag=str.lower):
    """Base of all commands: their name goes first."""


class Attach(Message, frozen=True, kw_only=True):
    """An app watches from now on, until this connection closes; what it held is let go then."""

    who: str = ""


class Stop(Message, frozen=True, kw_only=True):
    """Finish the current experiments and stop; `now` aborts them."""

    now: bool = False


class Pause(Message, frozen=True, kw_only=True):
    """Start no new experiment until resumed."""


class Resume(Message, frozen=True, kw_only=True):
    """Go on starting experiments."""


class Approve(Message, frozen=True, kw_only=True):
    """Let the waiting proposal run. The number keeps a late key from hitting the next one."""

    number: int


class Skip(Message, frozen=True, kw_only=True):
    """Do not run the waiting proposal; the agent reads the reason."""

    number: int
    reason: str = ""


class Revise(Message, frozen=True, kw_only=True):
    """Replace the train.py of the waiting proposal, and what it tries where that is said."""

    number: int
    source: str
    hypothesis: str = ""


class Own(Message, frozen=True, kw_only=True):
    """An experiment of the human's own: `source`, edited from the train.py of the commit `parent`."""

    parent: str
    source: str
    hypothesis: str = ""


class Rerun(Message, frozen=True, kw_only=True):
    """Measure a judged experiment once more, on a new seed."""

    number: int


class Overrule(Message, frozen=True, kw_only=True):
    """Another verdict on a judged experiment, as the human's."""

    number: int
    verdict: Verdict


class Hold(Message, frozen=True, kw_only=True):
    """The human is reading or editing: the countdown of the waiting proposal stands still (or runs again)."""

    number: int
    on: bool = True
    who: str = ""


class Abort(Message, frozen=True, kw_only=True):
    """End a running experiment; it is recorded as interrupted."""

    number: int


class Tell(Message, frozen=True, kw_only=True):
    """A hint for the agent."""

    text: str


class TakeBack(Message, frozen=True, kw_only=True):
    """Take back a hint, or a reason for skipping, by its number in the list of hints."""

    number: int


class SetApproval(Message, frozen=True, kw_only=True, tag="gate"):
    """Approval mode."""

    mode: Literal["auto", "ask"]


Command = (
    Attach
    | Stop
    | Pause
    | Resume
    | Approve
    | Skip
    | Revise
    | Own
    | Rerun
    | Overrule
    | Hold
    | Abort
    | Tell
    | TakeBack
    | SetApproval
)
_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)


class Reply(Data, frozen=True, kw_only=True):
    """The acknowledgement: what was done, or why not, in words."""

    ok: bool
    words: str


class NoLoop(UserError):
    """Nobody listens: the loop is not running, or does not answer."""


Handler = Callable[[Command], Awaitable[Reply]]


class Server:
    """The loop's end. `attached` says how many apps are watching."""

    def __init__(self, folder: Path, handle: Handler, gone: Callable[[str], None] = lambda who: None) -> None:
        """`gone` hears who was attached and is no more."""
        self._folder = folder
        self._handle = handle
        self._gone = gone
        self._path: Path | None = None  # of the socket
        self._inode = 0
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._retry = 0.0
        self.problem = ""  # why no command can arrive, as a clause
        self.attached = 0
        self.ever = False  # whether one has been attached

    async def start(self) -> None:
        """Listen. Where that is not possible, `problem` says why, and `keep` tries again."""
        self._sweep()
        self.problem = "no place takes a socket"
        for private in self._places():
            path = private / SOCKET
            try:
                private.mkdir(mode=0o700, exist_ok=True)
                private.chmod(0o700)
                self._server = await asyncio.start_unix_server(self._serve, path, limit=LINE_LIMIT)
                _check(path)
                _write(self._folder / ADDRESS, os.fsencode(path))
                self._path, self._inode, self.problem = path, path.stat().st_ino, ""
                return
            except (OSError, ValueError) as error:
                self.problem = f"{path}: {error}"
                self._unlisten(private)

    async def keep(self) -> None:
        """Listen again where somebody removed the socket or its address. To be called every second or so."""
        if self._path is None:
            if time.monotonic() >= self._retry:
                self._retry = time.monotonic() + RETRY_S
                await self.start()
            return
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode and address(self._folder) == str(self._path):
                return
        private, self._path = self._path.parent, None
        self._unlisten(private)
        await self.start()

    def _places(self) -> Iterator[Path]:
        """Private folders for a socket: one in the run's own, or, where that path is too long or takes no sockets, a short one."""
        own = self._folder / PRIVATE
        if len(os.fsencode(own / SOCKET)) <= LONGEST:
            yield own
        for place in temporary.places():
            if len(os.fsencode(place)) <= LONGEST - ROOM:
                with contextlib.suppress(OSError):
                    yield Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))

    def _unlisten(self, private: Path) -> None:
        """Close the socket, but no connection, and remove its folder."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        with contextlib.suppress(OSError):
            (private / SOCKET).unlink()
        with contextlib.suppress(OSError):
            private.rmdir()

    def _sweep(self) -> None:
        """Remove the socket of a loop of this run that was killed: one of ours, on which nobody listens."""
        with contextlib.suppress(OSError, ValueError):
            left = Path(address(self._folder))
            ours = left.name == SOCKET and left.parent.name.startswith(PREFIX)
            if not ours or left.parent.parent not in temporary.places() or not left.is_socket():
                return
            try:
                _check(left)
            except ConnectionRefusedError:
                left.unlink()
                left.parent.rmdir()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        attached, who = False, ""
        try:
            while line := await reader.readline():
                try:
                    command = _commands.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    reply = Reply(ok=False, words=f"That is no command this loop knows ({error}). Nothing was changed.")
                else:
                    if isinstance(command, Attach) and not attached:
                        attached = self.ever = True
                        who = command.who
                        self.attached += 1
                    reply = await self._answer(command)
                writer.write(msgspec.json.encode(reply) + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError, asyncio.CancelledError):
            pass  # the client went away, sent an endless line, or the loop closes
        finally:
            self._connections.discard(task)
            if attached:
                self.attached -= 1
                self._gone(who)
            writer.close()

    async def _answer(self, command: Command) -> Reply:
        """What became of a command. Whatever its handler raises is answered too: a connection that closes explains nothing."""
        try:
            return await self._handle(command)
        except OSError as error:
            words = f"That could not be done ({error}). The loop goes on; nothing was recorded of it."
        except Exception as error:  # a bug of ours; the loop's own output has it in full
            traceback.print_exc()
            words = f"That could not be done ({type(error).__name__}: {error}). The loop goes on; its output says more."
        return Reply(ok=False, words=words)

    async def close(self) -> None:
        if self._path is not None:
            self._unlisten(self._path.parent)
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        with contextlib.suppress(OSError):
            (self._folder / ADDRESS).unlink()


def address(folder: Path) -> str:
    """The path of the socket on which the loop of this run listens. Raises OSError where there is none."""
    return os.fsdecode((folder / ADDRESS).read_bytes())


def send(folder: Path, command: Command) -> Reply:
    """Send one command to the loop of the run in `folder` and wait for its acknowledgement. Raises NoLoop."""
    deadline = time.monotonic() + COMES_BACK_S
    while True:
        sent = False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(TIMEOUT_S)
                client.connect(address(folder))
                client.sendall(msgspec.json.encode(command) + b"\n")
                sent = True
                with client.makefile("rb") as stream:
                    line = stream.readline()
            if not line:
                raise OSError("no answer")
            return msgspec.json.decode(line, type=Reply)
        except (OSError, ValueError) as error:
            pid = run_lock.alive(folder)
            if not sent and pid is not None and time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            raise NoLoop(_silent(folder, pid, str(error), sent)) from error


def _silent(folder: Path, pid: int | None, why: str, sent: bool) -> str:
    so = "It was told, and may still do it" if sent else "Nothing was changed"
    words = f"The loop of run {folder.name} does not answer ({why}). {so}; `make status` shows its state."
    if pid:
        words += f" Its process is {pid}: `kill {pid}` ends it in good order when nothing else does."
    return words


def _check(path: Path) -> None:
    """Raises OSError where nobody can be reached there: some file systems take a socket's name and no connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(TIMEOUT_S)
        client.connect(str(path))


def _write(path: Path, content: bytes) -> None:
    """In one step: nobody reads half an address."""
    draft = path.with_name(f"{path.name}.new")
    draft.write_bytes(content)
    os.replace(draft, path)
