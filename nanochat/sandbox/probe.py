"""Try which parts of the sandbox work on this machine. `python -m nanochat.sandbox.probe DEVICE` prints the result as JSON."""

from __future__ import annotations

import json
import os
import sys

import msgspec

from nanochat.contract.checks import SandboxFinding
from nanochat.sandbox import capabilities, landlock, seccomp
from nanochat.sandbox.libc import LINUX, set_dumpable
from nanochat.sandbox.namespaces import enter_namespaces
from nanochat.sandbox.rights import NO_FILES, NO_NETWORK, NO_PROCESSES, drop_rights, missing_off_linux


def probe(device: str = "cpu") -> SandboxFinding:
    """Try the sandbox in short-lived children. The caller keeps its rights. Missing parts do not raise.

    Args:
        device: The device of the trainings. On a GPU the process namespace also needs a /proc of its own.
    """
    if not LINUX:
        return SandboxFinding(missing=missing_off_linux())
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            set_dumpable(True)
            lacking = enter_namespaces(device == "cuda")
            if os.fork() == 0:
                found = drop_rights(write=[], device="cpu", memory_limit=None)
                pid = "pid" not in lacking and os.getpid() == 1
                parts = SandboxFinding(
                    landlock_abi=landlock.abi(), pid_namespace=pid, net_namespace="net" not in lacking,
                    ipc_namespace="ipc" not in lacking, seccomp=seccomp.program("cpu") is not None,
                    capabilities=capabilities.effective() == 0, failed=found,
                    missing=found if pid else tuple(dict.fromkeys((*found, NO_PROCESSES))),
                )  # fmt: skip
                os.write(writer, msgspec.json.encode(parts))
            else:
                os.close(writer)
                os.wait()
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    if not text:
        lacks = (NO_FILES, NO_NETWORK)
        return SandboxFinding(failed=lacks, missing=(*lacks, NO_PROCESSES))
    return msgspec.json.decode(text, type=SandboxFinding)


def main() -> None:
    """Print the result of `probe` as JSON. The device is the first argument, cpu by default."""
    found = msgspec.to_builtins(probe(*sys.argv[1:2]))
    del found["error"]  # for whoever starts this; here the check has run
    print(json.dumps(found))


if __name__ == "__main__":
    main()
