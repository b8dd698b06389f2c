"""Check whether torch.compile works on this machine. The check runs in a separate process, since core does not import torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from core.execution.base import ExecutorFailed
from core.execution.local import harness_environment
from nanochat.contract.checks import CompilerFinding

LIMIT_S = 300.0


def check(root: Path, *, quick: bool = False) -> CompilerFinding:
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
        return CompilerFinding(works=False, words=f"no kernel was compiled within {LIMIT_S:.0f} s")
    except (OSError, ExecutorFailed) as error:
        return CompilerFinding(works=False, words=f"the check could not be started ({error})")
    try:
        return msgspec.json.decode(done.stdout.strip().splitlines()[-1], type=CompilerFinding)
    except (IndexError, msgspec.DecodeError):
        last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        return CompilerFinding(works=False, words=f"the check failed: {last[-200:]}")
