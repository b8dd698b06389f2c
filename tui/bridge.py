"""The connection between the app and a run. It follows the journal and the live files, and sends commands to the loop."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from core.machine import stats
from core.record import events as ev
from core.record import journal, live, process_start, run_lock
from core.record.fold import apply
from core.record.journal import JournalError, RunGone
from core.record.live import Picture, Waiting
from core.record.state import State
from core.reporting import log_lines, phrases
from core.run import backlog, commands
from core.text import program_sha
from tui.view.jobs import waiting_proposal

TICK_S = 0.4  # between two reads of the journal and the live files
SLOW_S = 2.0  # between two reads of the machine's figures, the disk and program.md
FIRST_READS = 2  # of them after which the next tick reads again: one without the machine, and one without loads
RECONNECT_S = 1.0
RECENT = 40  # events whose log lines are shown when the journal is read for the first time


@dataclass(frozen=True)
class News:
    """What has changed since the last news."""

    events: tuple[ev.AnyEvent, ...] = ()  # new ones; empty the first time
    lines: tuple[str, ...] = ()  # log lines of the new events; the first time those of the latest ones
    first: bool = False  # the journal was read for the first time
    live: bool = False  # live.json
    machine: bool = False  # the machine's figures
    alive: bool = False  # whether a loop runs
    program: bool = False  # program.md, or the ideas in the backlog


@dataclass
class Bridge:
    """The run that the app shows. Only the methods of this class write its fields."""

    folder: Path
    program: Path  # program.md
    post: Callable[[News], None]  # called with each change
    read_only: bool = False  # no command is sent, and the loop does not know of this app
    state: State = field(default_factory=State)
    live: Picture = field(default_factory=Picture)
    machine: stats.Machine = field(default_factory=stats.Machine)
    pid: int | None = None  # of the loop; None if no loop runs
    trouble: str = ""  # what is wrong with the journal or the machine
    gone: str = ""  # a sentence if the run that is shown was deleted, or if another one has its name
    program_text: str = ""
    ideas: tuple[str, ...] = ()  # in the backlog, untried, from the top
    loaded: bool = False

    def __post_init__(self) -> None:
        self._reader = journal.Reader(self.folder / journal.NAME)
        self._meter = stats.Meter()
        self._slow_t = 0.0
        self._slow_reads = 0
        self._program_stamp = (0, 0, 0, 0)
        self._live_stamp = (0, 0, 0)
        self.who = uuid.uuid4().hex  # identifies this app to the loop
        self._sending = asyncio.Lock()  # keeps the order of commands

    @property
    def waiting(self) -> Waiting | None:
        """The proposal that waits for an answer; None if no loop runs."""
        return waiting_proposal(self.state, self.live) if self.pid else None

    async def follow(self) -> None:
        """Read the run every TICK_S seconds and post changes, until cancelled."""
        while True:
            news = await self._read_changes()
            if news != News():
                self.post(news)
            await asyncio.sleep(TICK_S)

    async def _read_changes(self) -> News:
        first = not self.loaded
        events: list[ev.AnyEvent] = []
        lines: list[str] = []
        try:
            if first:
                self.state, lines = await asyncio.to_thread(self._read_journal)
                self.loaded = True
            elif self._reader.grown():
                events = self._reader.new()
                lines = _apply(events, self.state)
        except FileNotFoundError:
            self.trouble = "the run has no journal yet"
            return News()
        except RunGone as error:
            return self._lose(str(error))
        except JournalError as error:  # reported once; the live files are still read
            new, self.trouble, self.loaded = str(error) != self.trouble, str(error), True
            before, self.pid = self.pid, run_lock.alive(self.folder)
            return News(first=first, live=self._read_live(), alive=new or self.pid != before)
        pid, before = run_lock.alive(self.folder), self.pid
        self.pid, self.gone = pid, ""
        return News(
            events=tuple(events),
            lines=tuple(lines),
            first=first,
            live=self._read_live(),
            alive=pid != before,
            **await self._read_slow_sources(first),
        )

    def _read_journal(self) -> tuple[State, list[str]]:
        """Read the whole journal. Returns the state and the log lines of the latest events."""
        state, recent = State(name=self.folder.name), deque[ev.AnyEvent]()
        for event in self._reader.stream():
            recent.append(event)
            if len(recent) > RECENT:
                apply(state, recent.popleft())
        return state, _apply(recent, state)

    def _lose(self, why: str) -> News:
        """Show no loop and no live figures any more, since they would be those of another run."""
        new, self.gone, self.trouble = why != self.gone, why, why
        self.pid, self.live, self._live_stamp = None, Picture(), (0, 0, 0)
        return News(live=new, alive=new)

    def _read_live(self) -> bool:
        try:
            status = (self.folder / live.NAME).stat()
            stamp = (
                status.st_ino,
                status.st_mtime_ns,
                status.st_size,
            )  # includes the inode, because some file systems have a resolution of seconds
        except OSError:
            stamp = (0, 0, 0)
        if stamp == self._live_stamp:
            return False
        self._live_stamp = stamp
        self.live = live.read(self.folder)
        return True

    async def _read_slow_sources(self, first: bool) -> dict[str, bool]:
        now = time.monotonic()
        if now - self._slow_t < SLOW_S:
            return {}
        self._slow_reads += 1
        self._slow_t = now if self._slow_reads > FIRST_READS else 0.0
        if not first:  # reading the GPU driver is slow and would delay the first paint; the next tick does it
            boot = process_start.boot()
            trainers = [key for job in self.state.processes.values() if job.boot == boot for key in job.pids]
            self.machine = await asyncio.to_thread(self._meter.read, trainers)
            self.trouble = stats.disk_warning(self.folder) or ""
        ideas, self.ideas = self.ideas, backlog.listed(self.folder)
        return {"machine": not first, "program": self._read_program() or self.ideas != ideas}

    def _read_program(self) -> bool:
        try:
            status = self.program.stat()
            stamp = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
            if stamp == self._program_stamp:
                return False
            self.program_text = self.program.read_text(encoding="utf-8-sig", errors="replace")
        except OSError as error:
            stamp, self.program_text = (0, 0, 0, -1), f"`{self.program}` cannot be read: {error.strerror}"
            if stamp == self._program_stamp:
                return False
        self._program_stamp = stamp
        return True

    def program_sha(self) -> str:
        """Return the loop's identifier of the current text of program.md; '' for an empty text."""
        return program_sha(self.program_text) if self.program_text else ""

    async def stay_attached(self) -> None:
        """Keep a connection open, so that the loop knows that an app is attached. Reconnects when the loop starts again.

        A read-only app does not connect: proposals would wait for an answer that it cannot give.
        """
        while not self.read_only:
            with contextlib.suppress(OSError, ValueError, RunGone):
                self._reader.check()
                reader, writer = await asyncio.open_unix_connection(commands.address(self.folder))
                try:
                    writer.write(msgspec.json.encode(commands.Attach(who=self.who)) + b"\n")
                    await writer.drain()
                    while await reader.readline():
                        pass
                finally:
                    writer.close()
            await asyncio.sleep(RECONNECT_S)

    async def send(self, command: commands.Command) -> commands.Reply:
        """Send a command and wait for the reply. If the app is read-only, or the run is gone, or no loop runs, the reply says so."""
        if self.read_only:
            return commands.Reply(ok=False, words=phrases.READ_ONLY)
        try:
            self._reader.check()
        except RunGone as error:
            return commands.Reply(ok=False, words=str(error))
        if run_lock.alive(self.folder) is None:
            return commands.Reply(
                ok=False,
                words=f"No loop is running, so nothing was done. {phrases.resume_command(self.folder.name)} resumes the run.",
            )
        try:
            async with self._sending:
                return await asyncio.to_thread(commands.send, self.folder, command)
        except commands.NoLoop as error:
            return commands.Reply(ok=False, words=str(error))


def _apply(events: Iterable[ev.AnyEvent], state: State) -> list[str]:
    """Apply events to a state. Returns their log lines, each as it was at that moment: a verdict may be another one later."""
    lines = []
    for event in events:
        apply(state, event)
        if line := log_lines.line(event, state):
            lines.append(line)
    return lines
