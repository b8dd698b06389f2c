"""The fork server: imports torch once, then forks a scorer for each job.

It reads messages as lines of JSON from stdin, writes messages to stdout, and runs one job at a time. The environment variable
AUTORESEARCH_DEVICE names the device to train on, `cpu` by default. See nanochat/contract/messages.py.
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
from nanochat.harness import compiler, cuda_driver, gpu, scorer, start_trainer
from nanochat.harness.preload import preload
from nanochat.harness.processes import python
from nanochat.harness.progress import say
from nanochat.sandbox import landlock
from nanochat.sandbox.libc import LINUX, become_subreaper, die_with_parent, set_dumpable
from nanochat.sandbox.namespaces import proc_can_be_mounted


def main() -> None:
    """Serve until stdin closes, then end the running job and return.

    Sends Ready when the imports are done. A Train message that arrives during a job waits for its end; an Abort message ends the
    running job. A scorer that ends badly is reported as a Result with Outcome.INTERRUPTED.

    Raises:
        ValueError: A line is not a valid message.
    """
    torch.set_num_threads(1)
    prepare(os.environ.get("AUTORESEARCH_DEVICE", "cpu"))
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


def prepare(device: str) -> None:
    """Import the modules that trainers need and list the files that they may read. A child initialises the GPU's driver."""
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
        # Processes that compile find the GPU by NVML. By it, torch counts no part of a card (MIG).
        part_of_a_card = os.environ.get("CUDA_VISIBLE_DEVICES", "").startswith("MIG-")
        if driver is not None and (part_of_a_card or gpu.read() is None):
            compiler.compile_in_process()
    if LINUX:
        landlock.readable(device)  # after the driver has created its device nodes; cached for forked processes
        if device == "cuda":
            proc_can_be_mounted()  # likewise cached


def _start(job: Job, ours: tuple[int, int]) -> int:
    """Start the scorer of a job and return its pid.

    It is forked, or started as a new Python if forking a process with torch imported is unsafe (macOS). A forked scorer closes the
    descriptors in `ours`.
    """
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
    """Collect ended children, and send a result for a scorer that ended badly.

    Args:
        child: Pid of the running scorer; 0 if there is none.
        job: Id of its job.

    Returns:
        `child` if it is still running, else 0.
    """
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
    """Tell the scorer to end, and wait for it."""
    if child:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)


if __name__ == "__main__":
    main()
    os._exit(0)  # skip torch's cleanup, which takes a second
