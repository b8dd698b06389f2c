"""Try which parts of the sandbox work on this machine. `python -m nanochat.sandbox.probe DEVICE` prints the result as JSON."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass

from nanochat.sandbox import capabilities, landlock, seccomp
from nanochat.sandbox.libc import LINUX, set_dumpable
from nanochat.sandbox.namespaces import enter_namespaces
from nanochat.sandbox.rights import NO_FILES, NO_NETWORK, NO_PROCESSES, drop_rights, missing_off_linux


@dataclass(frozen=True)
class Sandbox:
    """The parts of the sandbox that this machine can enforce. Each was tried."""

    landlock_abi: int
    pid_namespace: bool
    net_namespace: bool
    ipc_namespace: bool
    seccomp: bool
    capabilities: bool  # whether they can be dropped
    failed: tuple[str, ...] = ()  # the result of drop_rights

    @property
    def missing(self) -> tuple[str, ...]:
        """Missing parts, for the user; empty if everything works."""
        if not LINUX:
            return missing_off_linux()
        words = list(self.failed)
        if not self.pid_namespace:
            words.append(NO_PROCESSES)
        return tuple(dict.fromkeys(words))


NOTHING = Sandbox(0, False, False, False, False, False)


def probe(device: str = "cpu") -> Sandbox:
    """Try the sandbox in short-lived children. The caller keeps its rights. Missing parts do not raise.

    Args:
        device: The device of the trainings. On a GPU the process namespace also needs a /proc of its own.
    """
    if not LINUX:
        return NOTHING
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            set_dumpable(True)
            lacking = enter_namespaces(device == "cuda")
            if os.fork() == 0:
                found = drop_rights(write=[], device="cpu", memory_limit=None)
                pid = "pid" not in lacking and os.getpid() == 1
                parts = Sandbox(
                    landlock.abi(), pid, "net" not in lacking, "ipc" not in lacking, seccomp.program("cpu") is not None,
                    capabilities.effective() == 0, found,
                )  # fmt: skip
                os.write(writer, json.dumps(asdict(parts)).encode())
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
        return Sandbox(0, False, False, False, False, False, (NO_FILES, NO_NETWORK))
    values = json.loads(text)
    return Sandbox(**{**values, "failed": tuple(values["failed"])})


def main() -> None:
    """Print the result of `probe` as JSON. The device is the first argument, cpu by default."""
    found = probe(*sys.argv[1:2])
    print(json.dumps({**asdict(found), "missing": list(found.missing)}))


if __name__ == "__main__":
    main()
