"""What this node has for trainings: cards, memory, space, and whether it can hold a trainer in the sandbox."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from core.execution.cluster.messages import Condition, Facts
from core.machine import stats

ROOT = Path(__file__).resolve().parents[3]
PROBE_S = 60.0  # to try the sandbox


def condition(facts: Facts, cache: Path, device: str) -> Condition:
    """Examine this node. Tries the sandbox in a process of its own.

    Args:
        facts: The node, for this device.
        cache: Its cache folder.
        device: cpu or cuda.
    """
    lacks, failed = _sandbox(device)
    return Condition(
        facts=facts, memory=stats.memory_total(),
        free=shutil.disk_usage(cache).free, lacks=lacks, failed=failed,
    )  # fmt: skip


def _sandbox(device: str) -> tuple[tuple[str, ...], str]:
    """Return what the sandbox lacks, and why it could not be tried."""
    command = [sys.executable, "-P", "-m", "nanochat.sandbox.probe", device]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PROBE_S, env=env)
    except subprocess.TimeoutExpired:
        return (), f"it did not end within {PROBE_S:.0f} s"
    except OSError as error:
        return (), str(error)[:200]
    try:
        return tuple(json.loads(done.stdout)["missing"]), ""
    except (ValueError, KeyError, TypeError) as error:
        return (), (done.stderr.strip().splitlines() or [str(error)])[-1][:200]
