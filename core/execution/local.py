"""An executor for this machine. Each slot has one harness process, which runs one job after another."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import msgspec

from core.execution.base import DataUnusable, DeviceGone, ExecutorFailed, Update
from core.machine import limits, stats
from nanochat.contract.job import CrashClass, Job, Outcome, Result
from nanochat.contract.messages import Abort, Done, Message, Progress, Request, Started, Train, Unusable, line, message

LAUNCH = Path(__file__).with_name("launch.py").read_text(encoding="utf-8")  # once, since the file may change later
SCRATCH = "scratch"  # the folder for temporary files, beside the log of the harness
LAST_WORDS_S = 2.0  # how long to wait for a harness to exit once its pipe is closed
LINE_LIMIT = 1 << 20  # bytes of one line from the harness
MOST_COMPILERS = 8  # processes that compile kernels for a trainer
COMPILER_BYTES = 2 << 30  # of the machine's memory for each of them
NEAR = 0.8  # share of its memory limit from which a trainer that a signal ended is taken to have run out of memory
PASSED_ON = (
    "PATH", "LANG", "LC_ALL", "TMPDIR", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_HOME", "LD_LIBRARY_PATH",
)  # fmt: skip
CPU_SETTINGS = {  # measured: the malloc settings give 18 to 34% more tokens/s; threads do not spin while they wait
    "MALLOC_MMAP_THRESHOLD_": "2000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "MALLOC_TOP_PAD_": "200000000",
    "GOMP_SPINCOUNT": "0",
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": "1",
}


# Messages of CUDA when the card or its driver is gone, and every later job would fail too. A train.py that hides the card from
# itself ends with one of them as well.
GPU_GONE = (
    "No CUDA GPUs are available", "CUDA driver initialization failed", "CUDA unknown error", "CUDA error: unknown error",
    "no CUDA-capable device is detected", "CUDA-capable device(s) is/are busy or unavailable", "uncorrectable ECC error",
)  # fmt: skip


GPU_CANNOT_BE_USED = (
    "The GPU cannot be used ({reason}); the experiment is run again. `nvidia-smi` shows whether the driver still sees it; after an "
    "update of the driver only a restart of the machine helps."
)
USE_GPU, USE_GPU_S = "import torch; torch.zeros(1, device='cuda')", 120.0  # how a GPU is tried, and the seconds for it


class _HarnessEnded(ExecutorFailed):
    """The harness process has ended. `code` is its exit code, or minus the number of the signal that ended it."""

    def __init__(self, text: str, code: int | None) -> None:
        super().__init__(text)
        self.code = code


def harness_environment(device: str, gpu: int | None = None, *, compiles: bool = True) -> dict[str, str]:
    """Return the environment variables of a harness.

    Of the user's variables only those in PASSED_ON are kept, and on CUDA also PYTORCH_ALLOC_CONF.

    Args:
        device: cpu, cuda or mps.
        gpu: The index of the only GPU that the trainer sees, among the usable ones.
        compiles: Whether torch.compile works. If not, it is disabled and returns its argument.

    Raises:
        ExecutorFailed: There is no such GPU.
    """
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    environment |= {"PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1"}
    environment["AUTORESEARCH_DEVICE"] = device
    if device == "cuda" and gpu is not None:
        environment |= _one_card(gpu)
    if not compiles:
        environment["TORCHDYNAMO_DISABLE"] = "1"
    if device == "cuda":
        workers = min(MOST_COMPILERS, stats.physical_cores(), stats.memory_total() // COMPILER_BYTES)
        environment["TORCHINDUCTOR_COMPILE_THREADS"] = str(max(1, workers))
        # Processes that compile ask whether there is a GPU. The driver itself does not start in them: it writes to files of /proc
        # that belong to each process, and the sandbox allows those of the trainer only.
        environment["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
        if "PYTORCH_ALLOC_CONF" in os.environ:
            environment["PYTORCH_ALLOC_CONF"] = os.environ["PYTORCH_ALLOC_CONF"]
        elif "microsoft" not in platform.release().lower():  # the driver of WSL refuses it
            environment["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"  # less memory is lost between tensors
    environment.setdefault(
        "CUDA_DEVICE_ORDER", "PCI_BUS_ID"
    )  # so that CUDA and NVML number the cards in the same order
    if device == "cpu":  # processes forked from one that has used a GPU cannot compute gradients
        environment |= {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "", **CPU_SETTINGS}
    return environment


def _one_card(gpu: int) -> dict[str, str]:
    """Return the variable that restricts a process to one GPU. Empty for the first GPU if NVML shows none."""
    names = stats.cards()
    if names is None:
        names = [word.strip() for word in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if word.strip()]
        if not names and gpu == 0:
            return {}
    if gpu >= len(names):
        raise ExecutorFailed(
            f"There is no GPU for slot {gpu + 1}: {len(names)} can be used. Nothing was started in it. "
            f"--slots {max(1, len(names))} fits."
        )
    return {"CUDA_VISIBLE_DEVICES": names[gpu]}


class LocalExecutor:
    """A slot on this machine with one harness process, which is started once and runs one job after another.

    Args:
        harness: The run's own copy of nanochat.
        device: cpu, cuda or mps.
        log: The file for the stderr of the harness.
        gpu: The index of this slot's GPU among the usable ones, on a CUDA device.
        compiles: Whether torch.compile works on this machine.

    Raises:
        ExecutorFailed: There is no GPU for this slot.
    """

    def __init__(self, harness: Path, device: str, log: Path, gpu: int | None = None, *, compiles: bool = True) -> None:
        # Computed once: if a card vanishes, this slot must not get another slot's card.
        self._environment = harness_environment(device, gpu, compiles=compiles)
        self._scratch = log.parent / SCRATCH  # used instead of the user's TMPDIR
        self._environment["TMPDIR"] = str(self._scratch)
        self._harness = harness
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the harness early, so that its imports overlap with other work."""
        if self._process is not None and self._process.returncode is None:
            return
        try:
            self._scratch.mkdir(parents=True, exist_ok=True)
            with self._log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-c", LAUNCH, str(self._harness), "-m", "nanochat.harness.fork_server"),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log,
                    cwd=self._harness,
                    env=self._environment,
                    limit=LINE_LIMIT,
                    start_new_session=True,  # a Ctrl-C in the terminal is the loop's to handle
                )
        except OSError as error:
            raise ExecutorFailed(f"The harness could not be started ({error}).") from error

    async def run(self, job: Job, update: Update, nodes: Collection[str] = ()) -> Result:
        kills = limits.oom_kills()
        try:
            return out_of_memory(await self._run(job, update), job, kills)
        except _HarnessEnded as error:
            if error.code != -signal.SIGKILL or not (limits.oom_kills() > kills or limits.pressed()):
                raise
            reason = "the machine ran out of memory, and the system ended the harness"
            return Result(job=job.id, outcome=Outcome.CRASH, crash=CrashClass.OUT_OF_MEMORY, reason=reason)

    async def _run(self, job: Job, update: Update) -> Result:
        await self.start()
        await self._send(Train(job=job))
        while True:
            match await self._receive():
                case Done(result=result) if result.job == job.id:
                    if job.device == "cuda" and _misses_gpu(result) and not await self._gpu_works():
                        raise DeviceGone(GPU_CANNOT_BE_USED.format(reason=result.reason))
                    return result
                case Unusable(job=job.id, reason=reason):
                    raise DataUnusable(f"{reason} The run ends here; all that was recorded is kept.")
                case (Started(job=job.id) | Progress(job=job.id)) as told:
                    update(told)

    async def _gpu_works(self) -> bool:
        """Return whether another process can use the GPU."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", USE_GPU), env=self._environment, cwd=self._scratch,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            return await asyncio.wait_for(process.wait(), USE_GPU_S) == 0
        except TimeoutError:
            return False
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def abort(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ExecutorFailed):
                await self._send(Abort())

    async def close(self) -> None:
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()  # at the end of its input the harness cleans up and exits
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            process.kill()
            await process.wait()
        with contextlib.suppress(OSError):
            self._scratch.rmdir()  # unless another slot still works there

    async def _send(self, message: Request) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(line(message))
            await self._process.stdin.drain()
        except (ConnectionError, RuntimeError) as error:
            raise await self._broken() from error

    async def _receive(self) -> Message:
        assert self._process is not None and self._process.stdout is not None
        try:
            return message(await self._process.stdout.readline())
        except ValueError as error:  # also for a line that is too long, and at the end of the output
            raise await self._broken(str(error)) from error

    async def _broken(self, unread: str = "") -> _HarnessEnded:
        """Kill a harness that has ended or sent an unreadable line, and return the error. The next job starts a new one.

        `unread`: why the line could not be read.
        """
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), LAST_WORDS_S)
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
                words = f"The harness sent a message that cannot be read ({unread}) and was killed; the experiment is run again."
                return _HarnessEnded(words, None)
        tail = ""
        with contextlib.suppress(OSError):
            tail = self._log.read_text(errors="replace")[-400:].strip()
        code = process.returncode if process is not None else None
        return _HarnessEnded(
            f"The harness process ended unexpectedly (exit code {code}); the experiment is run again. "
            f"Its last words are in {self._log}{': ' + tail if tail else '.'}",
            code,
        )


def _misses_gpu(result: Result) -> bool:
    """Return whether a training crashed since it found no GPU that it can use."""
    return result.outcome is Outcome.CRASH and any(words in result.reason for words in GPU_GONE)


def out_of_memory(result: Result, job: Job, kills: int, root: Path = limits.ROOT) -> Result:
    """Return the result of a job that a signal ended, as an out-of-memory crash if memory was the reason.

    The kernel, or a program that watches memory, kills the largest process: the trainer or its scorer. A trainer near its own
    limit can also end by a signal, since few libraries check each allocation.

    Args:
        result: The result of the job.
        job: The job, for its memory limit.
        kills: `limits.oom_kills(root)` before the job.
        root: The root of the file system, for tests.
    """
    if not result.signal:
        return result
    near = job.memory_limit is not None and result.peak_memory >= NEAR * job.memory_limit
    if not (limits.oom_kills(root) > kills or limits.pressed(root) or (near and result.outcome is Outcome.CRASH)):
        return result
    who = "it" if result.outcome is Outcome.CRASH else "its scorer"
    reason = f"it ran out of memory, and the system ended {who}"
    if result.peak_memory:
        reason += (
            f"; {result.peak_memory / 1e9:.1f} GB were in use, and {stats.memory_total() / 1e9:.1f} GB can be used here"
        )
    return msgspec.structs.replace(result, outcome=Outcome.CRASH, crash=CrashClass.OUT_OF_MEMORY, reason=reason)
