"""Results of the checks of a machine, which run in processes of their own and print one JSON object."""

from __future__ import annotations

import msgspec


class CompilerFinding(msgspec.Struct, frozen=True):
    """Whether torch.compile works in the sandbox.

    Attributes:
        works: Whether it works.
        words: What was found, as a clause.
        todo: What the user can do about it, as a clause.
        device: The name of the GPU, or cpu; "" if nothing was compiled.
        slow: Whether it works, but something is missing that would make it faster.
    """

    works: bool
    words: str
    todo: str = ""
    device: str = ""
    slow: bool = False


class SandboxFinding(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of the sandbox that a machine can enforce. Each was tried.

    Attributes:
        landlock_abi: The version of Landlock; 0 without it.
        pid_namespace: Whether there is a PID namespace.
        net_namespace: Whether there is a network namespace.
        ipc_namespace: Whether there is an IPC namespace.
        seccomp: Whether system calls can be filtered.
        capabilities: Whether capabilities can be dropped.
        failed: Parts that could not be enforced when rights were dropped, as phrases.
        missing: Missing parts, as phrases; empty if everything works.
        error: Why the check did not run, as a clause; "" if it did.
    """

    landlock_abi: int = 0
    pid_namespace: bool = False
    net_namespace: bool = False
    ipc_namespace: bool = False
    seccomp: bool = False
    capabilities: bool = False
    failed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    error: str = ""
