"""One trainer process, watched from outside: its clock, memory, output, messages, and its end."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from nanochat import compiler, sandbox, wire
from nanochat.contract.job import CrashClass, Outcome
from nanochat.processes import Descendants, Standstill, Usage, python, temporary_folder
from nanochat.trainer import CRASHES, NO_MEMORY, Spec, speaks_of_memory
from nanochat.trainer import main as trainer_main

POLL_S = 0.03
WALL_POLL_S = 0.5  # where the clock tells the time, processes are looked at only for their memory and number
TURN_S = 1.0  # a turn that took longer was a stall of the scorer, in which no silence of the trainer could be seen
SPARE = 1 << 29  # bytes of memory beyond the limit before the trainer is ended
EXIT_S = 1.0  # for the exit code of a trainer that has closed its connection
TAIL = 2000  # characters of its output that are searched for what ended it
MOST_PROCESSES = 64
MOST_ON_GPU = 512  # compilers are started there, several a core
COMPILED, MOST_COMPILED = "compiled", 256 << 20  # folder in the trainer's own, bytes
METRICS_LINES = 4000  # a curve that grows longer is thinned to every second point
NON_FINITE_LOGS = 20  # this many in a row and the training is given up
FORKS = sys.platform == "linux"
ESCAPES = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|[@-Z\\-_]|\][^\x07\x1b]*(\x07|\x1b\\))|[\x00-\x08\x0b-\x1f\x7f]")


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


class Watch:
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
        spec = replace(spec, scratch=str(self._scratch))
        self._began = time.monotonic()
        self.pid = self._fork(theirs, writer, spec) if FORKS else self._spawn(theirs, writer, spec)
        theirs.close()
        os.close(writer)
        self._output = reader
        self.room, self._tail = output_limit, ""  # the tail: the last of what it printed
        self._inbox = wire.Inbox(self._end)
        self._queue: deque[dict[str, Any]] = deque()
        self._tree = Descendants(self.pid)
        self._out = out
        self._metrics: list[str] = []
        self._records = spec.max_steps is None  # the steps of a preflight are no part of the curve
        self._every, self._seen = 1, 0
        self._written = 0
        self._bad_logs = 0
        self.missing: tuple[str, ...] = ()
        self.peak_rss = 0
        self.steps = self.tokens = 0
        self.loss: float | None = None
        self.progress = 0.0
        self.charge: Callable[[float], float] = lambda used: used  # from seconds used to seconds of the budget
        self.curve: list[tuple[float, int]] = []  # (seconds of the budget, steps)
        self.alive_at = self._began + free_s
        self._usage = Usage(0.0, 0, 1)
        self._polled = 0.0

    # -- starting -------------------------------------------------------------------------------------------------

    def _fork(self, theirs: socket.socket, writer: int, spec: Spec) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 0
        try:  # the warden: enters the namespaces, forks the trainer into them, waits for it and ends with its exit code
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            sandbox.die_with_parent()
            sandbox.dumpable(True)
            missing = sandbox.enter_namespaces()
            shared_memory = spec.device == "cuda" and sandbox.mount_shared_memory()
            if os.fork() == 0:
                sandbox.die_with_parent()
                _go_first()
                _stdio(writer)
                _close_all_but({0, 1, 2, theirs.fileno(), spec.inputs, spec.outputs, spec.clock})
                os.chdir(spec.scratch)
                os.environ |= environment(spec.scratch)
                tempfile.tempdir = None
                if spec.device == "cuda" and not shared_memory:  # worker processes need semaphores
                    compiler.compile_in_process()
                trainer_main(theirs, spec, ("no process namespace",) if "pid" in missing else (), shared_memory)
            _close_all_but(set())
            code = os.waitstatus_to_exitcode(os.wait()[1])
        finally:
            os._exit(code if code >= 0 else 128 - code)

    def _spawn(self, theirs: socket.socket, writer: int, spec: Spec) -> int:
        """Where forking a process that has torch imported is unsafe."""
        handles = [theirs.fileno(), spec.inputs, spec.outputs, spec.clock]
        code = "import sys, json; from nanochat.watch import spawned; spawned(*json.loads(sys.argv[1]))"
        process = subprocess.Popen(
            python(code, json.dumps([theirs.fileno(), asdict(spec)])),
            stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, pass_fds=handles, start_new_session=True,
        )  # fmt: skip
        return process.pid

    # -- following ------------------------------------------------------------------------------------------------

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

    def wait(self, kind: str, check: Callable[[], None]) -> dict[str, Any]:
        """The next message of that kind. `check` is called at each turn and may raise Failed."""
        turn = time.monotonic()
        while True:
            while self._queue:
                message = self._queue.popleft()
                if message["say"] == kind:
                    return message
                self._hear(message)
            began, turn = turn, time.monotonic()
            self.alive_at += max(0.0, turn - began - TURN_S)
            if turn - self.alive_at > self._hang_s:
                raise Failed(Outcome.CRASH, f"it did nothing for {self._hang_s:.0f} s", CrashClass.HANG)
            select.select([self._end.fileno(), self._output], [], [], POLL_S)
            self._drain()
            try:
                self._queue += self._inbox.read()
            except wire.Malformed as error:
                raise Failed(Outcome.CRASH, f"it sent a message that is none ({error})", CrashClass.CONTRACT) from None
            except EOFError:
                self.used(fresh=True)
                raise self._silent_end() from None
            self.used()
            check()

    def _silent_end(self) -> Failed:
        """Why a trainer ended that did not say so itself."""
        self._drain()
        code = self._exit_code()
        if code == NO_MEMORY or (code < 0 and speaks_of_memory(self._tail)):
            return Failed(Outcome.CRASH, "it ran out of memory", CrashClass.OUT_OF_MEMORY, signal=max(0, -code))
        if code < 0:
            name = _signal_name(-code)
            return Failed(
                Outcome.CRASH, f"the training process was ended by {name}", CrashClass.EXCEPTION, signal=-code
            )
        return Failed(Outcome.CRASH, "the training process ended without a word", CrashClass.EXCEPTION)

    def _exit_code(self) -> int:
        """Of the trainer, which its warden passes on: a signal's number is negative. 0 where it cannot be had."""
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

    def _hear(self, message: dict[str, Any]) -> None:
        try:
            match message["say"]:
                case "missing":
                    self.missing = tuple(plain(str(part))[:60] for part in message.get("parts", [])[:8])
                case "step":
                    steps = wire.count(message, "steps")
                    if steps > self.steps:
                        self.alive_at = time.monotonic()
                    self.steps, self.tokens = steps, wire.count(message, "tokens")
                    self.curve.append((self.charge(self.used()), steps))
                case "log":
                    self._log(message)
                case "too big":
                    raise TooBig
                case "crash":
                    kind = message.get("crash")
                    raise Failed(
                        Outcome.CRASH, plain(str(message.get("reason", "")))[:300], CrashClass(kind) if kind in CRASHES else CrashClass.EXCEPTION,
                        plain(str(message.get("traceback", "")))[:1500],
                    )  # fmt: skip
                case other:
                    raise Failed(
                        Outcome.CRASH, f"it said {plain(other)[:30]!r} where that makes no sense", CrashClass.CONTRACT
                    )
        except (wire.Malformed, TypeError, ValueError, OverflowError) as error:
            raise Failed(Outcome.CRASH, f"it sent a message that is none ({error})", CrashClass.CONTRACT) from None

    def _log(self, message: dict[str, Any]) -> None:
        values = {plain(str(name)): float(value) for name, value in dict(message.get("values", {})).items()}
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self._bad_logs = 0 if len(finite) == len(values) else self._bad_logs + 1
        if self._bad_logs >= NON_FINITE_LOGS:
            raise Failed(Outcome.CRASH, "the loss is no finite number any more", CrashClass.NON_FINITE)
        self.progress = min(1.0, max(0.0, wire.number(message, "progress")))
        self.loss = finite.get("loss", self.loss)
        self._seen += 1
        if finite and self._records and self._seen % self._every == 0:
            line = {"step": wire.count(message, "step"), "progress": round(self.progress, 5), **finite}
            self._metrics.append(json.dumps(line))
            self._write_metrics()

    def _write_metrics(self) -> None:
        path = self._out / "metrics.jsonl"
        with contextlib.suppress(OSError):
            if len(self._metrics) > METRICS_LINES:
                self._metrics = self._metrics[::2]
                self._every *= 2
                path.write_text("\n".join(self._metrics) + "\n")
            else:
                with path.open("a") as file:
                    file.write(self._metrics[-1] + "\n")

    def _drain(self) -> None:
        """Keep the first bytes of what the trainer prints, cleaned; read on and forget the rest."""
        for _ in range(16):
            try:
                piece = os.read(self._output, 1 << 16)
            except BlockingIOError:
                return
            if not piece:
                return
            self._tail = (self._tail + piece[-TAIL:].decode("utf-8", "replace"))[-TAIL:]
            if self.room > 0:
                clean = ESCAPES.sub(b"", piece)[: self.room]
                self.room -= len(clean)
                with contextlib.suppress(OSError), (self._out / "output.txt").open("ab") as file:
                    file.write(clean + (b"" if self.room else b"\n[cut]\n"))

    def say(self, **content: Any) -> None:
        with contextlib.suppress(OSError):
            self._end.send(wire.pack({"say": "ask", **content}), socket.MSG_DONTWAIT)  # one message always has room

    def send_tokens(self, handle: int) -> None:
        with contextlib.suppress(OSError):
            socket.send_fds(self._end, [wire.pack({"say": "tokens"})], [handle])

    def say_memory(self, descriptor: int | None) -> None:
        """Lend GPU memory for the answers, or say that there is none; the trainer answers with a message "memory"."""
        with contextlib.suppress(OSError):
            socket.send_fds(self._end, [wire.pack({"say": "memory"})], [] if descriptor is None else [descriptor])

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

    # -- ending ---------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Kill whatever is left and clear up. Never raises."""
        with contextlib.suppress(Exception):
            self._drain()
        self._tree.kill_all()
        self._end.close()
        os.close(self._output)
        shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def pids(self) -> list[int]:
        return self._tree.pids


def plain(text: str) -> str:
    """No escape sequences, no control characters but line ends and tabs."""
    return ESCAPES.sub(b"", text.encode(errors="replace")).decode(errors="replace")


def environment(scratch: str) -> dict[str, str]:
    """Variables of a trainer's own: all that programs keep of their own goes to its folder, and its user has a name."""
    return {
        "TMPDIR": scratch, "HOME": scratch, "TRITON_HOME": scratch, "USER": "trainer",
        "TORCHINDUCTOR_CACHE_DIR": str(Path(scratch, COMPILED)),
    }  # fmt: skip


def _go_first() -> None:
    """Where memory is short the kernel ends this process first, and not the loop, the scorer or a program of the user's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _stdio(writer: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(writer, 1)
    os.dup2(writer, 2)


def _close_all_but(keep: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            with contextlib.suppress(OSError):
                os.close(int(name))


def spawned(handle: int, fields: dict[str, Any]) -> None:
    """The other end of `_spawn`."""
    sandbox.preload()
    trainer_main(socket.socket(fileno=handle), Spec(**fields), ())
