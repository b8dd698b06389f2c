"""Commands from any app or shell to the running loop: JSON lines over a Unix socket, each one acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

import msgspec

from core.errors import Expected
from core.model import Data, Verdict

PRIVATE, SOCKET = "autoresearch-", "s"  # a folder for the user alone, and the socket in it
ADDRESS = "socket"  # the file in the run's folder that holds the socket's path (socket paths over 100 bytes fail)
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


class SetGate(Message, frozen=True, kw_only=True, tag="gate"):
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
    | SetGate
)
_commands: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)


class Reply(Data, frozen=True, kw_only=True):
    """The acknowledgement: what was done, or why not, in words."""

    ok: bool
    words: str


class NoLoop(Expected):
    """Nobody listens: the loop is not running, or does not answer."""


Handler = Callable[[Command], Awaitable[Reply]]


class Server:
    """The loop's end. `attached` says how many apps are watching."""

    def __init__(self, folder: Path, handle: Handler, gone: Callable[[str], None] = lambda who: None) -> None:
        """`gone` hears who was attached and is no more."""
        self._folder = folder
        self._handle = handle
        self._gone = gone
        self._private = Path(tempfile.mkdtemp(prefix=PRIVATE))  # mode 700
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.attached = 0
        self.ever = False  # whether one has been attached

    async def start(self) -> None:
        self._sweep()
        path = self._private / SOCKET
        self._server = await asyncio.start_unix_server(self._serve, path, limit=LINE_LIMIT)
        (self._folder / ADDRESS).write_text(str(path))

    def _sweep(self) -> None:
        """Remove the socket of a loop of this run that was killed: one of ours, on which nobody listens."""
        with contextlib.suppress(OSError, ValueError):
            left = Path((self._folder / ADDRESS).read_text())
            ours = left.name == SOCKET and left.parent.name.startswith(PRIVATE)
            if not ours or left.parent.parent != Path(tempfile.gettempdir()) or not left.is_socket():
                return
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                    client.connect(str(left))
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
                    reply = await self._handle(command)
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

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        with contextlib.suppress(OSError):
            (self._folder / ADDRESS).unlink()
        shutil.rmtree(self._private, ignore_errors=True)


def send(folder: Path, command: Command) -> Reply:
    """Send one command to the loop of the run in `folder` and wait for its acknowledgement. Raises NoLoop."""
    sent = False
    try:
        address = (folder / ADDRESS).read_text()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(TIMEOUT_S)
            client.connect(address)
            client.sendall(msgspec.json.encode(command) + b"\n")
            sent = True
            with client.makefile("rb") as stream:
                line = stream.readline()
        if not line:
            raise OSError("no answer")
        return msgspec.json.decode(line, type=Reply)
    except (OSError, ValueError) as error:
        so = "It was told, and may still do it" if sent else "Nothing was changed"
        raise NoLoop(
            f"The loop of run {folder.name} does not answer ({error}). {so}; `make status` shows its state."
        ) from error
