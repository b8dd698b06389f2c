"""Commands from apps and shells to the running loop, as JSON lines over a Unix socket. Each one is acknowledged."""

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

PRIVATE, SOCKET = "loop", "s"  # a private folder in the run's folder, and the socket in it
PREFIX = "autoresearch-"  # prefix of such a folder's name elsewhere
ADDRESS = "socket"  # the file in the run's folder that holds the socket's path
LONGEST = 100  # bytes of a socket's path; systems allow 103 to 107
ROOM = len(f"/{PREFIX}12345678/{SOCKET}")
RETRY_S = 60.0  # time between two tries to find a place for the socket
COMES_BACK_S = 3.0  # time in which a living loop replaces a removed socket
TIMEOUT_S = 10.0
LINE_LIMIT = 1 << 20


class Message(Data, frozen=True, kw_only=True, tag_field="cmd", tag=str.lower):
    """Base class of all commands."""


class Attach(Message, frozen=True, kw_only=True):
    """Attach an app to the loop until the connection closes. What it held is then released."""

    who: str = ""


class Stop(Message, frozen=True, kw_only=True):
    """Finish the current experiments and stop. `now` aborts them instead."""

    now: bool = False


class Pause(Message, frozen=True, kw_only=True):
    """Start no new experiments until resumed."""


class Resume(Message, frozen=True, kw_only=True):
    """Start experiments again."""


class Approve(Message, frozen=True, kw_only=True):
    """Approve the waiting proposal. The number prevents that a late key approves the next one."""

    number: int


class Skip(Message, frozen=True, kw_only=True):
    """Skip the waiting proposal. The agent reads the reason."""

    number: int
    reason: str = ""


class Reapply(Message, frozen=True, kw_only=True):
    """Re-apply the waiting proposal to the incumbent, if it was made for an earlier one. The reply has the text to edit."""

    number: int


class Revise(Message, frozen=True, kw_only=True):
    """Replace the train.py of the waiting proposal, and its hypothesis if one is given.

    `parent`: the commit that the edited proposal changes. If there is a new incumbent by then, the text is merged into it.
    """

    number: int
    source: str
    hypothesis: str = ""
    parent: str = ""


class Own(Message, frozen=True, kw_only=True):
    """Queue an experiment of the human: `source`, edited from the train.py of the commit `parent`."""

    parent: str
    source: str
    hypothesis: str = ""


class Rerun(Message, frozen=True, kw_only=True):
    """Measure a judged experiment again on a new seed."""

    number: int


class Overrule(Message, frozen=True, kw_only=True):
    """Replace the verdict of a judged experiment by the human's."""

    number: int
    verdict: Verdict


class Hold(Message, frozen=True, kw_only=True):
    """Stop the countdown while the human reads, types or edits, or let it go on.

    `number`: a proposal that must wait for an answer. 0: whatever waits, now or before the countdown goes on.
    """

    number: int = 0
    on: bool = True
    who: str = ""


class Attend(Message, frozen=True, kw_only=True):
    """Say that the human uses an app. The countdown begins again, and earlier proposals no longer count as unanswered."""


class Abort(Message, frozen=True, kw_only=True):
    """End a running experiment, which is recorded as interrupted."""

    number: int


class Tell(Message, frozen=True, kw_only=True):
    """Give the agent a hint."""

    text: str


class TakeBack(Message, frozen=True, kw_only=True):
    """Take back a hint, or a reason for skipping, by its number in the list of hints."""

    number: int


class SetApproval(Message, frozen=True, kw_only=True, tag="gate"):
    """Set the approval mode."""

    mode: Literal["auto", "ask"]


Command = (
    Attach
    | Stop
    | Pause
    | Resume
    | Approve
    | Skip
    | Reapply
    | Revise
    | Own
    | Rerun
    | Overrule
    | Hold
    | Attend
    | Abort
    | Tell
    | TakeBack
    | SetApproval
)
_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)


class Offer(Data, frozen=True, kw_only=True):
    """A text of train.py that the human can go on with, and the commit whose train.py it changes.

    If a merge conflicts, the text has the conflict markers of git.
    """

    parent: str
    source: str


class Reply(Data, frozen=True, kw_only=True, omit_defaults=True):
    """The acknowledgement of a command: what was done, or why not.

    Attributes:
        ok: Whether it was carried out.
        words: A sentence for the human.
        offer: For `Reapply` the proposal as it is now. If a text of the human could not be used as it is, what became of it.
    """

    ok: bool
    words: str
    offer: Offer | None = None


class NoLoop(UserError):
    """The loop is not running or does not answer."""


Handler = Callable[[Command], Awaitable[Reply]]


class Server:
    """The server in the loop. `attached` is the number of attached apps.

    Args:
        folder: The folder of the run.
        handle: Carries out a command and returns the reply.
        gone: Called with the name of an app that has disconnected.
    """

    def __init__(self, folder: Path, handle: Handler, gone: Callable[[str], None] = lambda who: None) -> None:
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
        self.ever = False  # whether an app was ever attached

    async def start(self) -> None:
        """Start to listen. If that is not possible, `problem` says why, and `keep` tries again."""
        self._sweep()
        self.problem = "no folder allows a socket"
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
        """Listen again if the socket or its address was removed. Call this about every second."""
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
        """Yield private folders for the socket: one in the run's folder if its path is short enough, then short ones elsewhere."""
        own = self._folder / PRIVATE
        if len(os.fsencode(own / SOCKET)) <= LONGEST:
            yield own
        for place in temporary.places():
            if len(os.fsencode(place)) <= LONGEST - ROOM:
                with contextlib.suppress(OSError):
                    yield Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))

    def _unlisten(self, private: Path) -> None:
        """Close the socket and remove its folder. Open connections stay."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        with contextlib.suppress(OSError):
            (private / SOCKET).unlink()
        with contextlib.suppress(OSError):
            private.rmdir()

    def _sweep(self) -> None:
        """Remove the socket that a killed loop of this run has left outside of the run's folder."""
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
                    reply = Reply(
                        ok=False, words=f"This loop does not know that command ({error}). Nothing was changed."
                    )
                else:
                    if isinstance(command, Attach) and not attached:
                        attached = self.ever = True
                        who = command.who
                        self.attached += 1
                    reply = await self._answer(command)
                writer.write(msgspec.json.encode(reply) + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError, asyncio.CancelledError):
            pass  # the client disconnected or sent too long a line, or the loop closes
        finally:
            self._connections.discard(task)
            if attached:
                self.attached -= 1
                self._gone(who)
            writer.close()

    async def _answer(self, command: Command) -> Reply:
        """Carry out a command and return the reply. Exceptions become replies too, so that the client learns the reason."""
        try:
            return await self._handle(command)
        except OSError as error:
            problem = f"The command failed ({error}). The loop keeps running; nothing was recorded."
        except Exception as error:  # a bug; the traceback goes to the loop's output
            traceback.print_exc()
            problem = f"The command failed ({type(error).__name__}: {error}). The loop keeps running; its output has the traceback."
        return Reply(ok=False, words=problem)

    async def close(self) -> None:
        if self._path is not None:
            self._unlisten(self._path.parent)
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        with contextlib.suppress(OSError):
            (self._folder / ADDRESS).unlink()


def address(folder: Path) -> str:
    """Return the path of the socket on which the loop of a run listens. Raises OSError if it does not exist."""
    return os.fsdecode((folder / ADDRESS).read_bytes())


def send(folder: Path, command: Command) -> Reply:
    """Send a command to the loop of the run in `folder` and return its reply. Raises NoLoop."""
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
    so = "It received the command and may still carry it out" if sent else "Nothing was changed"
    text = f"The loop of run {folder.name} does not answer ({why}). {so}; `make status` shows its state."
    if pid:
        text += f" Its process is {pid}. If it stays silent, `kill {pid}` stops it cleanly."
    return text


def _check(path: Path) -> None:
    """Connect to a socket as a test. Raises OSError. Some file systems allow a socket file but no connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(TIMEOUT_S)
        client.connect(str(path))


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step, so that no reader gets an incomplete one."""
    draft = path.with_name(f"{path.name}.new")
    draft.write_bytes(content)
    os.replace(draft, path)
