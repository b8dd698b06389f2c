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
    """Examine this node. Tries the sandbox in a process of its own; changes nothing.

    Args:
        facts: The node, for this device.
        cache: Its cache folder, which may not exist yet.
        device: cpu or cuda.
    """
    there = next(path for path in (cache, *cache.parents) if path.exists())
    lacks, failed = _sandbox(device)
    return Condition(
        facts=facts, cards=tuple(gpu.name for gpu in stats.gpus()), memory=stats.memory_total(),
        free=shutil.disk_usage(there).free, lacks=lacks, failed=failed,
    )  # fmt: skip


def _sandbox(device: str) -> tuple[tuple[str, ...], str]:
    """Return what the sandbox lacks, and why it could not be tried."""
    command = [sys.executable, "-m", "nanochat.sandbox.probe", device]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_S, env=env)
        return tuple(json.loads(done.stdout)["missing"]), ""
    except subprocess.TimeoutExpired:
        return (), f"it did not end within {PROBE_S:.0f} s"
    except (OSError, ValueError, KeyError, TypeError) as error:
        last = (done.stderr.strip().splitlines() or [str(error)])[-1] if not isinstance(error, OSError) else str(error)
        return (), last[:200]
