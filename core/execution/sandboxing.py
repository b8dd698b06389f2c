"""Check which parts of the sandbox work on this machine. The check runs in a separate process, which gives up its rights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec

LIMIT_S = 60.0
WORDS = 200  # characters of an error


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the check.

    Attributes:
        missing: Missing parts, as phrases.
        landlock_abi: The version of Landlock; 0 without it.
        error: Why the check did not run, as a clause; "" if it did.
    """

    missing: tuple[str, ...] = ()
    landlock_abi: int = 0
    error: str = ""


def check(root: Path, device: str) -> Finding:
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
        return Finding(error=f"it did not end within {LIMIT_S:.0f} s")
    except OSError as failure:
        return Finding(error=str(failure)[-WORDS:])
    try:
        return msgspec.json.decode(done.stdout, type=Finding)
    except msgspec.MsgspecError as failure:
        return Finding(error=(done.stderr.strip() or str(failure))[-WORDS:])
