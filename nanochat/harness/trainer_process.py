"""One trainer process, watched from outside: its clock, memory, output, messages, and its end."""

from __future__ import annotations

import contextlib
import math
import os
import select
import shutil
import signal
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from nanochat.contract.job import CrashClass, Outcome
from nanochat.harness import start_trainer, wire
from nanochat.harness.crashes import CRASHES, NO_MEMORY, speaks_of_memory
from nanochat.harness.processes import Descendants, Standstill, Usage, temporary_folder
from nanochat.harness.start_trainer import COMPILED
from nanochat.harness.trainer import Spec
from nanochat.harness.trainer_output import Curve, Output, plain

POLL_S = 0.03
WALL_POLL_S = 0.5  # where the clock tells the time, processes are looked at only for their memory and number
TURN_S = 1.0  # a turn that took longer was a stall of the scorer, in which no silence of the trainer could be seen
SPARE = 1 << 29  # bytes of memory beyond the limit before the trainer is ended
EXIT_S = 1.0  # for the exit code of a trainer that has closed its connection
MOST_PROCESSES = 64
MOST_ON_GPU = 512  # compilers are started there, several a core
MOST_COMPILED = 256 << 20  # bytes of compiled kernels that are kept
NON_FINITE_LOGS = 20  # this many in a row and the training is given up

M = TypeVar("M", bound=wire.FromTrainer)


class Failed(Exception):
    """The trial is over without a score."""

    def __init__(
        self, outcome: Outcome, reason: str, crash: CrashClass | None = None, traceback: str = "", signal: int = 0
    ) -> None:
        """`signal`: the number of the one that ended the trainer; 0 where none did."""
        super().__init__(reason)
        self.outcome, self.reason, self.crash, self.traceback, self.signal = outcome, reason, crash, traceback, signal


class TooBig(Exception):
    """The model has no room to answer so many rows at once."""


class TrainerProcess:
    """Starts a trainer and follows it. Every wait is bounded, every message is checked, and it always ends."""

    def __init__(
        self,
        spec: Spec,
        out: Path,
        *,
        memory_limit: int | None,
        output_limit: int,
        hang_s: float,
        wall: bool,
        free_s: float,
        compiled: Path | None = None,
    ) -> None:
        """`free_s`: set-up and warm-up, in which no step is expected, since a compiler may be at work. `compiled`: a folder
        of kernels, compiled earlier, of which the trainer gets a copy."""
        self._limit, self._wall, self._hang_s = memory_limit, wall, hang_s
        self._end, theirs = socket.socketpair()
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self._scratch = Path(tempfile.mkdtemp(prefix="autoresearch-trial-", dir=temporary_folder()))
        if compiled is not None:
            with contextlib.suppress(OSError):  # without them it takes longer, that is all
                shutil.copytree(compiled, self._scratch / COMPILED)
        self._began = time.monotonic()
        self.pid = start_trainer.start(theirs, writer, replace(spec, scratch=str(self._scratch)))
        theirs.close()
        os.close(writer)
        self._output = Output(reader, out, output_limit)
        self._curve_file = Curve(out) if spec.max_steps is None else None  # the steps of a preflight are no part of it
        self._inbox = wire.Inbox(self._end)
        self._queue: deque[wire.FromTrainer] = deque()
        self._tree = Descendants(self.pid)
        self._bad_logs = 0
        self.missing: tuple[str, ...] = ()
        self.peak_rss = 0
        self.steps = self.tokens = 0
        self.loss: float | None = None
        self.progress = 0.0
        self.charge: Callable[[float], float] = lambda used: used  # from seconds used to seconds of the budget
        self.curve: list[tuple[float, int]] = []  # (seconds of the budget, steps)
        self.last_activity = self._began + free_s
        self._usage = Usage(0.0, 0, 1)
        self._polled = 0.0

    # -- its clock and its size -----------------------------------------------------------------------------------

    def used(self, *, fresh: bool = False) -> float:
        """Seconds of the budget's unit used since the trainer started: CPU seconds, or wall seconds on a GPU.

        Raises Failed when the trainer uses too much memory or too many processes. `fresh` reads the CPU clock anew.
        """
        now = time.monotonic()
        if (fresh and not self._wall) or now - self._polled > (WALL_POLL_S if self._wall else POLL_S):
            self._polled = now
            self._usage = self._tree.poll()
            memory = self._memory()
            self.peak_rss = max(self.peak_rss, memory)
            if self._limit is not None and memory > self._limit + SPARE:
                raise Failed(
                    Outcome.CRASH,
                    f"it used more than the {self._limit / 1e9:.1f} GB of memory it may",
                    CrashClass.OUT_OF_MEMORY,
                )
            most = MOST_ON_GPU if self._wall else MOST_PROCESSES
            if self._usage.count > most:
                raise Failed(
                    Outcome.CRASH, f"it started {self._usage.count} processes; {most} are allowed", CrashClass.CONTRACT
                )
        return now - self._began if self._wall else self._usage.cpu_s

    def _memory(self) -> int:
        """Bytes that the trainer and its descendants use. Compilers are forked from one another on a GPU, and resident
        sizes count what they share once for each: where the sum is too much, shares are counted, which takes longer."""
        resident = self._usage.rss
        if self._wall and self._limit is not None and resident > self._limit + SPARE:
            return self._tree.proportional()
        return resident

    def stopped(self) -> AbstractContextManager[Standstill, bool | None]:
        """The trainer stands still inside this context, unless it does not stop at once."""
        return self._tree.stopped()

    def delay_s(self) -> float | None:
        """Seconds that the trainer waited for a core; None where that is not known."""
        return self._tree.delay_s()

    @property
    def cpu_s(self) -> float:
        """CPU seconds at the last look."""
        return self._usage.cpu_s

    @property
    def pids(self) -> list[int]:
        return self._tree.pids

    @property
    def room(self) -> int:
        """Bytes of its output that may still be kept."""
        return self._output.room

    # -- what it says ---------------------------------------------------------------------------------------------

    def wait(self, kind: type[M], check: Callable[[], None]) -> M:
        """The next message of that kind. `check` is called at each turn and may raise Failed. Raises Failed and TooBig."""
        turn = time.monotonic()
        while True:
            while self._queue:
                message = self._queue.popleft()
                if isinstance(message, kind):
                    return message
                self._handle_message(message)
            began, turn = turn, time.monotonic()
            self.last_activity += max(0.0, turn - began - TURN_S)
            if turn - self.last_activity > self._hang_s:
                raise Failed(Outcome.CRASH, f"it did nothing for {self._hang_s:.0f} s", CrashClass.HANG)
            select.select([self._end.fileno(), self._output.reader], [], [], POLL_S)
            self._output.drain()
            try:
                self._queue += self._inbox.read()
            except wire.Malformed as error:
                words = plain(str(error))[:200]
                raise Failed(Outcome.CRASH, f"it sent an invalid message ({words})", CrashClass.CONTRACT) from None
            except EOFError:
                self.used(fresh=True)
                raise self._silent_end() from None
            self.used()
            check()

    def _silent_end(self) -> Failed:
        """Why a trainer ended that did not say so itself."""
        self._output.drain()
        code = self._exit_code()
        if code == NO_MEMORY or (code < 0 and speaks_of_memory(self._output.tail)):
            return Failed(Outcome.CRASH, "it ran out of memory", CrashClass.OUT_OF_MEMORY, signal=max(0, -code))
        if code < 0:
            name = _signal_name(-code)
            return Failed(
                Outcome.CRASH, f"the training process was ended by {name}", CrashClass.EXCEPTION, signal=-code
            )
        return Failed(Outcome.CRASH, "the training process ended without a word", CrashClass.EXCEPTION)

    def _exit_code(self) -> int:
        """Of the trainer, which the init process of its namespace passes on: a signal's number is negative. 0 where it cannot be had."""
        deadline = time.monotonic() + EXIT_S
        while time.monotonic() < deadline:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                return 0
            if pid:
                code = os.waitstatus_to_exitcode(status)
                return 128 - code if code > 128 else code
            time.sleep(0.005)
        return 0

    def _handle_message(self, message: wire.FromTrainer) -> None:
        """Take note of a message that nobody waits for. Raises Failed and TooBig."""
        match message:
            case wire.Missing():
                self.missing = tuple(plain(part)[:60] for part in message.parts[:8])
            case wire.Step():
                if message.steps > self.steps:
                    self.last_activity = time.monotonic()
                self.steps, self.tokens = message.steps, message.tokens
                self.curve.append((self.charge(self.used()), message.steps))
            case wire.Log():
                self._log(message)
            case wire.NoRoom():
                raise TooBig
            case wire.Crash():
                kind = message.crash if message.crash in CRASHES else CrashClass.EXCEPTION
                reason, traceback = plain(message.reason)[:300], plain(message.traceback)[:1500]
                raise Failed(Outcome.CRASH, reason, kind, traceback)
            case _:
                words = f"it sent {type(message).__name__} where that makes no sense"
                raise Failed(Outcome.CRASH, words, CrashClass.CONTRACT)

    def _log(self, message: wire.Log) -> None:
        values = {plain(name): value for name, value in message.values.items()}
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self._bad_logs = 0 if len(finite) == len(values) else self._bad_logs + 1
        if self._bad_logs >= NON_FINITE_LOGS:
            raise Failed(Outcome.CRASH, "the loss is no longer a finite number", CrashClass.NON_FINITE)
        self.progress = min(1.0, max(0.0, message.progress))
        self.loss = finite.get("loss", self.loss)
        if self._curve_file is not None:
            self._curve_file.add(message.step, self.progress, finite)

    # -- what it is told ------------------------------------------------------------------------------------------

    def ask(self, rows: int) -> None:
        """Let it compute the logits of the first `rows` rows of the shared tokens; it says Answered."""
        self._tell(wire.Ask(rows=rows))

    def send_tokens(self, handle: int) -> None:
        """Hand over the training tokens, an open file."""
        self._tell(wire.Tokens(), handle)

    def lend_memory(self, descriptor: int | None) -> None:
        """Lend GPU memory for the answers, or say that there is none; it says MemoryTaken."""
        self._tell(wire.LendMemory(), *([] if descriptor is None else [descriptor]))

    def _tell(self, message: wire.ToTrainer, *handles: int) -> None:
        with contextlib.suppress(OSError):  # one message always has room
            socket.send_fds(self._end, [wire.pack(message)], handles, socket.MSG_DONTWAIT)

    # -- its end --------------------------------------------------------------------------------------------------

    def keep_compiled(self, folder: Path) -> None:
        """End the trainer, and copy the kernels that it compiled to `folder`, unless they are larger than MOST_COMPILED.

        Links are left out. With the trainer gone nobody can put one in the place of a file meanwhile.
        """
        self._tree.kill_all()
        source = self._scratch / COMPILED
        files = [path for path in source.rglob("*") if path.is_file() and not path.is_symlink()]
        if not files or sum(path.stat().st_size for path in files) > MOST_COMPILED:
            return
        for path in files:
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target, follow_symlinks=False)

    def end(self) -> None:
        """Kill whatever is left and clear up. Never raises."""
        with contextlib.suppress(Exception):
            self._output.drain()
        self._tree.kill_all()
        self._end.close()
        os.close(self._output.reader)
        shutil.rmtree(self._scratch, ignore_errors=True)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
