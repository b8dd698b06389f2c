"""Whether torch.compile works on this machine, told by nanochat/harness/compile_check.py in a process of its own: core imports no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from core.execution.base import ExecutorFailed
from core.execution.local import harness_environment

LIMIT_S = 300.0


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """`words` say what was found, `todo` what to do, both as clauses. `slow`: it works, but something makes it slower."""

    works: bool
    words: str
    todo: str = ""
    device: str = ""
    slow: bool = False


def check(root: Path, *, quick: bool = False) -> Finding:
    """Compile one kernel in the sandbox, on the first GPU if there is one; takes 10 to 60 seconds.

    `root`: the source tree. `quick`: only look for a compiler and Python's headers. Never raises for what a machine lacks.
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
