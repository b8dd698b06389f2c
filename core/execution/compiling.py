"""Check whether torch.compile works on this machine. The check runs in a separate process, since core does not import torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from core.execution.base import ExecutorFailed
from core.execution.local import harness_environment

LIMIT_S = 300.0


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the check.

    Attributes:
        works: Whether torch.compile works.
        words: What was found, as a clause.
        todo: What the user can do about it, as a clause.
        device: The name of the device.
        slow: Whether it works, but slower than it could.
    """

    works: bool
    words: str
    todo: str = ""
    device: str = ""
    slow: bool = False


def check(root: Path, *, quick: bool = False) -> Finding:
    """Compile one kernel in the sandbox, on the first GPU if there is one. Takes 10 to 60 seconds.

    Args:
        root: The source tree.
        quick: Only look for a compiler and Python's headers.

    Returns:
        What was found. A failed check is a result too, not an exception.
    """
    command = [sys.executable, "-m", "nanochat.harness.compile_check", "--json", *(["--quick"] if quick else [])]
    try:
        environment = harness_environment("cuda", 0)
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return Finding(works=False, words=f"no kernel was compiled within {LIMIT_S:.0f} s")
    except (OSError, ExecutorFailed) as error:
        return Finding(works=False, words=f"the check could not be started ({error})")
    try:
        return msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=Finding)
    except (IndexError, msgspec.DecodeError):
        last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        return Finding(works=False, words=f"the check failed: {last[-200:]}")
