"""Commands from any app or shell to the running loop: JSON lines over a Unix socket, each one acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from core.model import Data, Verdict

PRIVATE, SOCKET = "autoresearch-", "s"  # a folder for the user alone, and the socket in it
ADDRESS = "socket"  # the file in the run's folder that holds the socket's path (socket paths over 100 bytes fail)
TIMEOUT_S = 10.0
LINE_LIMIT = 1 << 20


class Attach(Data):
    """An app watches from now on, until this connection closes; what it held is let go then."""

    cmd: Literal["attach"] = "attach"
    who: str = ""


class Stop(Data):
    """Finish the current experiments and stop; `now` aborts them."""

    cmd: Literal["stop"] = "stop"
    now: bool = False


class Pause(Data):
    """Start no new experiment until resumed."""

    cmd: Literal["pause"] = "pause"


class Resume(Data):
    cmd: Literal["resume"] = "resume"


class Approve(Data):
    """Let the waiting proposal run. The number keeps a late key from hitting the next one."""

    cmd: Literal["approve"] = "approve"
    number: int


class Skip(Data):
    """Do not run the waiting proposal; the agent reads the reason."""

    cmd: Literal["skip"] = "skip"
    number: int
    reason: str = ""


class Revise(Data):
    """Replace the train.py of the waiting proposal, and what it tries where that is said."""

    cmd: Literal["revise"] = "revise"
    number: int
    source: str
    hypothesis: str = ""


class Own(Data):
    """An experiment of the human's own: `source`, edited from the train.py of the commit `parent`."""

    cmd: Literal["own"] = "own"
    parent: str
    source: str
    hypothesis: str = ""


class Rerun(Data):
    """Measure a judged experiment once more, on a new seed."""

    cmd: Literal["rerun"] = "rerun"
    number: int


class Overrule(Data):
    """Another verdict on a judged experiment, as the human's."""

    cmd: Literal["overrule"] = "overrule"
    number: int
    verdict: Verdict


class Hold(Data):
    """The human is reading or editing: the countdown of the waiting proposal stands still (or runs again)."""

    cmd: Literal["hold"] = "hold"
    number: int
    on: bool = True
    who: str = ""


class Abort(Data):
    """End a running experiment; it is recorded as interrupted."""

    cmd: Literal["abort"] = "abort"
    number: int


class Tell(Data):
    """A hint for the agent."""

    cmd: Literal["tell"] = "tell"
    text: str


class SetGate(Data):
    """Approval mode."""

    cmd: Literal["gate"] = "gate"
    mode: Literal["auto", "ask"]


Command = Annotated[
    Attach | Stop | Pause | Resume | Approve | Skip | Revise | Own | Rerun | Overrule | Hold | Abort | Tell | SetGate,
    Field(discriminator="cmd"),
]
_commands: TypeAdapter[Command] = TypeAdapter(Command)


class Reply(Data):
    """The acknowledgement: what was done, or why not, in words."""

    ok: bool
    words: str


class NoLoop(Exception):
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
                    command = _commands.validate_json(line)
                except ValidationError as error:
                    first = error.errors()[0]["msg"]
                    reply = Reply(ok=False, words=f"That is no command this loop knows ({first}). Nothing was changed.")
                else:
                    if isinstance(command, Attach) and not attached:
                        attached = self.ever = True
                        who = command.who
                        self.attached += 1
                    reply = await self._handle(command)
                writer.write(reply.model_dump_json().encode() + b"\n")
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
    try:
        address = (folder / ADDRESS).read_text()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(TIMEOUT_S)
            client.connect(address)
            client.sendall(command.model_dump_json().encode() + b"\n")
            with client.makefile("rb") as stream:
                line = stream.readline()
        if not line:
            raise OSError("no answer")
        return Reply.model_validate(json.loads(line))
    except (OSError, ValueError) as error:
        raise NoLoop(
            f"The loop of run {folder.name} does not answer ({error}). Nothing was changed; `make status` shows its state."
        ) from error
