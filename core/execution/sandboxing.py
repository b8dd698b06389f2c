"""Check which parts of the sandbox work on this machine. The check runs in a separate process, which gives up its rights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec

from nanochat.contract.checks import SandboxFinding

LIMIT_S = 60.0
WORDS = 200  # characters of an error


def check(root: Path, device: str) -> SandboxFinding:
    """Try the sandbox as a trainer would use it.

    Args:
        root: The folder with `nanochat`. Another `nanochat` in the working directory is not used.
        device: The device of the trainings.

    Returns:
        What was found. A failed check is a result too, not an exception.
    """
    command = [sys.executable, "-P", "-m", "nanochat.sandbox.probe", device]
    env = {**os.environ, "PYTHONPATH": str(root)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=LIMIT_S, env=env)
    except subprocess.TimeoutExpired:
        return SandboxFinding(error=f"it did not end within {LIMIT_S:.0f} s")
    except OSError as failure:
        return SandboxFinding(error=str(failure)[-WORDS:])
    try:
        return msgspec.json.decode(done.stdout, type=SandboxFinding)
    except msgspec.MsgspecError as failure:
        return SandboxFinding(error=(done.stderr.strip() or str(failure))[-WORDS:])
