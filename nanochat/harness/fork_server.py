"""The fork server: imports torch once, then forks a scorer for each job. One job at a time; jobs come as lines on stdin.

The environment variable AUTORESEARCH_DEVICE names the device that it will train on, `cpu` by default.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import traceback

import torch
import torch.nn.functional

from nanochat.contract.job import Job, Outcome, Result
from nanochat.contract.messages import Abort, Done, Ready, Train, line, request
from nanochat.harness import cuda_driver, scorer, start_trainer
from nanochat.harness.preload import preload
from nanochat.harness.processes import python
from nanochat.harness.progress import say
from nanochat.sandbox import landlock
from nanochat.sandbox.libc import LINUX, become_subreaper, die_with_parent, set_dumpable


def main() -> None:
    """Serve until stdin closes. A job that is running then is ended first."""
    torch.set_num_threads(1)
    _prepare(os.environ.get("AUTORESEARCH_DEVICE", "cpu"))
    become_subreaper()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say(Ready(pid=os.getpid(), torch=torch.__version__))
    child, rest = 0, b""
    job: Job | None = None
    waiting: list[bytes] = []
    while True:
        ready, _, _ = select.select([0, reader], [], [])
        if reader in ready:
            os.read(reader, 4096)
            child = _reap(child, job.id if job is not None else "")
        if 0 in ready:
            piece = os.read(0, 1 << 16)
            if not piece:
                _finish(child)
                return
            *lines, rest = (rest + piece).split(b"\n")
            waiting += lines
        while waiting:
            message = request(waiting[0])
            if isinstance(message, Abort):
                if child:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(child, signal.SIGTERM)
            elif child:
                break
            else:
                job = message.job
                child = _start(job, (reader, writer))
            waiting.pop(0)


def _prepare(device: str) -> None:
    """Import what trainers need, and learn which files they may read, while a child initialises the GPU's driver."""
    child = cuda_driver.start() if device == "cuda" else None
    preload(device)
    if child is not None:
        driver = cuda_driver.finish(child)
        if driver is not None and driver.error:
            words = (
                f"The CUDA driver reports error {driver.error} when it is initialised. Trainings on the GPU will fail."
            )
            print(f"{words} See what `nvidia-smi` says.", file=sys.stderr, flush=True)
        if driver is not None and driver.virtual_memory is False:  # some virtual GPUs
            os.environ.pop("PYTORCH_ALLOC_CONF", None)
    if LINUX:
        landlock.readable(device)  # device nodes are there only now


def _start(job: Job, ours: tuple[int, int]) -> int:
    """Fork the scorer of a job, or start it afresh where forking a process that has torch imported is unsafe (macOS)."""
    if not start_trainer.FORKS:
        code = "import sys; from nanochat.harness import scorer; scorer.started_afresh(sys.argv[1])"
        return subprocess.Popen(python(code, line(Train(job=job)).decode()), stdin=subprocess.DEVNULL).pid
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        die_with_parent(signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        for handle in ours:
            os.close(handle)
        set_dumpable(False)
        scorer.main(job)
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _reap(child: int, job: str) -> int:
    """Collect ended children; a scorer that ended badly still has a result. Returns the scorer that is still running."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 0
        if pid == 0:
            return child
        if pid == child:
            child = 0
            if status != 0:
                words = f"the scorer ended unexpectedly (status {status})"
                number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
                say(Done(result=Result(job=job, outcome=Outcome.INTERRUPTED, reason=words, signal=number)))


def _finish(child: int) -> None:
    """End the running job; the scorer clears up after itself."""
    if child:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)


if __name__ == "__main__":
    main()
    os._exit(0)  # nothing is left to be done, and taking torch apart would cost a second
