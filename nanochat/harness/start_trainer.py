"""Start the process of a trainer: forked, or as a new Python on systems where forking is unsafe."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import msgspec

from nanochat.contract.layout import COMPILED
from nanochat.harness import compiler, trainer
from nanochat.harness.preload import preload
from nanochat.harness.processes import python
from nanochat.harness.trainer import Spec
from nanochat.sandbox.libc import die_with_parent, set_dumpable
from nanochat.sandbox.namespaces import enter_namespaces, mount_proc, mount_shared_memory
from nanochat.sandbox.rights import NO_PROCESSES

FORKS = sys.platform == "linux"  # on other systems a process with torch imported must not be forked


def start(end: socket.socket, output: int, spec: Spec) -> int:
    """Start a trainer.

    Args:
        end: The trainer's end of the socket pair.
        output: Descriptor for its stdout and stderr.
        spec: What to train.

    Returns:
        The pid of a child of this process. On Linux it is the trainer's parent, which stays outside the trainer's PID namespace and
        ends with the trainer's exit code.
    """
    if not FORKS:
        return _start_afresh(end, output, spec)
    pid = os.fork()
    if pid:
        return pid
    code = 0
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with_parent()
        set_dumpable(True)
        gpu = spec.device == "cuda"
        missing = enter_namespaces(gpu)
        shared_memory = gpu and mount_shared_memory()
        if os.fork() == 0:
            die_with_parent()
            if gpu and "pid" not in missing:
                mount_proc()
            _offer_to_out_of_memory_killer()
            _redirect(output)
            _close_all_but({0, 1, 2, end.fileno(), spec.inputs, spec.outputs, spec.clock})
            os.chdir(spec.scratch)
            os.environ |= environment(spec.scratch)
            tempfile.tempdir = None
            if gpu and not shared_memory:  # worker processes need semaphores
                compiler.compile_in_process()
            trainer.main(end, spec, (NO_PROCESSES,) if "pid" in missing else (), shared_memory)
        _close_all_but(set())
        code = os.waitstatus_to_exitcode(os.wait()[1])
    finally:
        os._exit(code if code >= 0 else 128 - code)


def environment(scratch: str) -> dict[str, str]:
    """Return environment variables of a trainer. Caches go to its scratch folder, and USER is set."""
    return {
        "TMPDIR": scratch, "HOME": scratch, "TRITON_HOME": scratch, "USER": "trainer",
        "TORCHINDUCTOR_CACHE_DIR": str(Path(scratch, COMPILED)),
    }  # fmt: skip


def _start_afresh(end: socket.socket, output: int, spec: Spec) -> int:
    handles = [end.fileno(), spec.inputs, spec.outputs, spec.clock]
    code = "import sys; from nanochat.harness import start_trainer; start_trainer.started_afresh(int(sys.argv[1]), sys.argv[2])"
    process = subprocess.Popen(
        python(code, str(end.fileno()), json.dumps(asdict(spec))),
        stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=handles, start_new_session=True,
    )  # fmt: skip
    return process.pid


def started_afresh(handle: int, spec: str) -> None:
    """Run a trainer in a new Python. `handle` is its end of the socket pair, `spec` its Spec as JSON."""
    preload()
    trainer.main(socket.socket(fileno=handle), msgspec.convert(json.loads(spec), Spec), ())


def _offer_to_out_of_memory_killer() -> None:
    """Let the kernel end this process first if memory runs out, and not the loop, the scorer or a program of the user."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _redirect(output: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def _close_all_but(keep: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            with contextlib.suppress(OSError):
                os.close(int(name))
