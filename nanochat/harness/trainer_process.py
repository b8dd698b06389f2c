"""Control a trainer's process: its clock, memory, output, messages and end."""

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

from msgspec import structs

from nanochat.contract.job import CrashClass, Outcome, Result
from nanochat.contract.layout import COMPILED
from nanochat.harness import start_trainer, wire
from nanochat.harness.crashes import CRASHES, NO_MEMORY, speaks_of_memory
from nanochat.harness.processes import Descendants, Standstill, Usage, temporary_folder
from nanochat.harness.trainer import Spec
from nanochat.harness.trainer_output import Curve, Output, plain

POLL_S = 0.03  # between two looks at the processes
WALL_POLL_S = 0.5  # the same if the budget is wall time: then only memory and the number of processes are measured
TURN_S = 1.0  # if a turn of `wait` takes longer, the scorer was stalled, and the excess does not count as a hang
SPARE = 1 << 29  # bytes of memory beyond the limit before the trainer is ended
EXIT_S = 1.0  # longest wait for the exit code of a trainer that has closed its connection
MOST_PROCESSES = 64
MOST_ON_GPU = 512  # several compilers per core are started there
NON_FINITE_LOGS = 20  # the training ends after this many in a row

M = TypeVar("M", bound=wire.FromTrainer)


class Failed(Exception):
    """The job ends without a score.

    Args:
        outcome: How it ended.
        reason: A clause for the user.
        crash: The kind of crash, with Outcome.CRASH.
        traceback: Last lines that concern train.py.
        signal: Number of the signal that ended the trainer; 0 if none did.
    """

    def __init__(
        self, outcome: Outcome, reason: str, crash: CrashClass | None = None, traceback: str = "", signal: int = 0
    ) -> None:
        super().__init__(reason)
        self.outcome, self.reason, self.crash, self.traceback, self.signal = outcome, reason, crash, traceback, signal

    def noted(self, result: Result) -> Result:
        """Return the result with how the job ended."""
        return structs.replace(
            result,
            outcome=self.outcome,
            reason=self.reason,
            crash=self.crash,
            traceback=self.traceback,
            signal=self.signal,
        )


class TooBig(Exception):
    """The model has too little memory to answer so many rows at once."""


class TrainerProcess:
    """Starts a trainer and controls it. Every wait is limited in time, and every message is checked.

    Attributes:
        pid: The child of this process that `start_trainer.start` returned.
        missing: Parts of the sandbox that could not be enforced.
        peak_rss: Peak bytes of memory of all its processes.
        steps: Batches served so far.
        tokens: Tokens served so far.
        loss: The latest finite loss; None before the first.
        progress: Fraction of the budget that is spent, by the trainer's clock.
        charge: Converts seconds used to seconds of the budget.
        curve: Points (seconds of the budget, steps).
        last_activity: Monotonic time from which a hang is counted: the latest step, or the end of a phase without steps.
    """

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
        """Start a trainer.

        Args:
            spec: What to train. Its `scratch` is set here.
            out: Folder for output.txt and metrics.jsonl.
            memory_limit: Bytes for all its processes together; None for no limit.
            output_limit: Bytes of output to keep.
            hang_s: Wall seconds without a step that count as a hang.
            wall: Whether the budget is wall time instead of CPU time.
            free_s: Seconds of set-up and warm-up in which no step is expected.
            compiled: Folder of compiled kernels, which is copied to the trainer's scratch folder.
        """
        self._limit, self._wall, self._hang_s = memory_limit, wall, hang_s
        self._end, theirs = socket.socketpair()
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self._scratch = Path(tempfile.mkdtemp(prefix="autoresearch-trial-", dir=temporary_folder()))
        if compiled is not None:
            with contextlib.suppress(OSError):  # without them the trainer compiles again
                shutil.copytree(compiled, self._scratch / COMPILED)
        self._began = time.monotonic()
        self.pid = start_trainer.start(theirs, writer, replace(spec, scratch=str(self._scratch)))
        theirs.close()
        os.close(writer)
        self._output = Output(reader, out, output_limit)
        self._curve_file = Curve(out) if spec.max_steps is None else None  # a preflight has no curve
        self._inbox = wire.Inbox(self._end)
        self._queue: deque[wire.FromTrainer] = deque()
        self._tree = Descendants(self.pid)
        self._bad_logs = self.peak_rss = self.steps = self.tokens = 0
        self.missing: tuple[str, ...] = ()
        self.loss: float | None = None
        self.progress = 0.0
        self.charge: Callable[[float], float] = lambda used: used
        self.curve: list[tuple[float, int]] = []
        self.last_activity = self._began + free_s
        self._usage, self._polled = Usage(0.0, 0, 1), 0.0

    # -- time and memory ------------------------------------------------------------------------------------------

    def used(self, *, fresh: bool = False) -> float:
        """Return the seconds used since the trainer started: CPU seconds, or wall seconds on a GPU.

        Args:
            fresh: Measure now. If False, the CPU time may be up to POLL_S seconds old.

        Raises:
            Failed: The trainer uses too much memory or too many processes.
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
        """Return the bytes of memory of all processes.

        On a GPU, forked compilers share memory, and resident sizes count it once for each of them. So if their sum exceeds the limit,
        the proportional size is measured, which takes longer.
        """
        resident = self._usage.rss
        if self._wall and self._limit is not None and resident > self._limit + SPARE:
            return self._tree.proportional()
        return resident

    def stopped(self) -> AbstractContextManager[Standstill, bool | None]:
        """Stop the trainer inside a context. See `Descendants.stopped`."""
        return self._tree.stopped()

    def delay_s(self) -> float | None:
        """Return the seconds that the trainer waited for a core; None if unknown."""
        return self._tree.delay_s()

    @property
    def cpu_s(self) -> float:
        """CPU seconds at the latest measurement."""
        return self._usage.cpu_s

    @property
    def pids(self) -> list[int]:
        return self._tree.pids

    @property
    def room(self) -> int:
        """Bytes of its output that may still be kept."""
        return self._output.room

    # -- messages from the trainer --------------------------------------------------------------------------------

    def wait(self, kind: type[M], check: Callable[[], None]) -> M:
        """Wait for a message, and handle other messages that come before it.

        Args:
            kind: Type of the message.
            check: Called about every POLL_S seconds. May raise Failed.

        Returns:
            The next message of that type.

        Raises:
            Failed: The trainer failed, hung, ended or sent an invalid message, or `check` raised it.
            TooBig: The trainer sent NoRoom.
        """
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
        """Return the failure of a trainer that ended without a message."""
        self._output.drain()
        return _ended(_exit_code(self.pid), self._output.tail)

    def _handle_message(self, message: wire.FromTrainer) -> None:
        """Handle a message that `wait` does not wait for. Raises Failed and TooBig."""
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

    # -- messages to the trainer ----------------------------------------------------------------------------------

    def ask(self, rows: int) -> None:
        """Ask for the logits of the first `rows` rows of the shared tokens. The answer is Answered."""
        self._tell(wire.Ask(rows=rows))

    def send_tokens(self, handle: int) -> None:
        """Send the training tokens. `handle` is the descriptor of their file."""
        self._tell(wire.Tokens(), handle)

    def lend_memory(self, descriptor: int | None) -> None:
        """Lend GPU memory for the answers. None: there is no such memory. The answer is MemoryTaken."""
        self._tell(wire.LendMemory(), *([] if descriptor is None else [descriptor]))

    def save_weights(self) -> None:
        """Let the trainer write its weights to its scratch folder. The answer is WeightsDone."""
        self._tell(wire.SaveWeights())

    def load_weights(self, handle: int) -> None:
        """Send weights. `handle` is the descriptor of their file. The answer is WeightsDone."""
        self._tell(wire.LoadWeights(), handle)

    def _tell(self, message: wire.ToTrainer, *handles: int) -> None:
        with contextlib.suppress(OSError):  # a single message always fits into the socket's buffer
            socket.send_fds(self._end, [wire.pack(message)], handles, socket.MSG_DONTWAIT)

    # -- end ------------------------------------------------------------------------------------------------------

    def ended_scratch(self) -> Path:
        """End the trainer and return its scratch folder. It ends, so that it cannot replace a file by a link while that is read."""
        self._tree.kill_all()
        return self._scratch

    def end(self) -> None:
        """Kill all its processes, close the connection and remove the scratch folder."""
        with contextlib.suppress(Exception):
            self._output.drain()
        self._tree.kill_all()
        self._end.close()
        os.close(self._output.reader)
        shutil.rmtree(self._scratch, ignore_errors=True)


def _ended(code: int, output: str) -> Failed:
    """Return the failure of a trainer with this exit code, whose output ends with `output`."""
    if code == NO_MEMORY or (code < 0 and speaks_of_memory(output)):
        return Failed(Outcome.CRASH, "it ran out of memory", CrashClass.OUT_OF_MEMORY, signal=max(0, -code))
    if code < 0:
        words = f"the training process was ended by {_signal_name(-code)}"
        return Failed(Outcome.CRASH, words, CrashClass.EXCEPTION, signal=-code)
    return Failed(Outcome.CRASH, "the training process ended without a message", CrashClass.EXCEPTION)


def _exit_code(child: int) -> int:
    """Return a trainer's exit code, which its parent process passes on. Negative for a signal; 0 if unknown."""
    deadline = time.monotonic() + EXIT_S
    while time.monotonic() < deadline:
        try:
            pid, status = os.waitpid(child, os.WNOHANG)
        except ChildProcessError:
            return 0
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return 128 - code if code > 128 else code
        time.sleep(0.005)
    return 0


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
