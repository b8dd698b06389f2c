"""The reference of a node: how long a reading of the gauge takes there. It is measured once per run, by the run's own harness."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import socket
import sys
from pathlib import Path

from core.execution.local import LAUNCH, harness_environment

# As in nanochat/harness/machine_speed.py.
SHARE, MOST_S = 0.1, 3.0
WITHIN_S = 120.0
CODE = """
import sys
import torch
torch.set_num_threads(1)
from nanochat.harness.gauge import Gauge
print(repr(Gauge().reference(float(sys.argv[1]))))
"""


async def reference(cache: Path, run: str, harness: Path, budget_s: float) -> float | None:
    """Return the reference of this node for a run, in seconds. Slots on the same node have the same one.

    Args:
        cache: The cache folder of the node, which keeps it.
        run: The id of the run.
        harness: The run's copy of nanochat.
        budget_s: The budget of a training.

    Returns:
        The seconds of a reading. None if the gauge cannot run here: the harness then says why.
    """
    folder = cache / "references"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / hashlib.sha256(f"{run} {machine()}".encode()).hexdigest()
    with path.with_suffix(".lock").open("w") as lock:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if (known := _read(path)) is not None:
            return known
        found = await _measure(harness, min(MOST_S, SHARE * budget_s))
        if found is not None:
            draft = path.with_suffix(".new")
            draft.write_text(repr(found))
            os.replace(draft, path)
        return found


def machine() -> str:
    """Return what identifies this machine. Several may share a home folder, and so the cache."""
    known = ""
    for name in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"):
        with contextlib.suppress(OSError):
            known += Path(name).read_text()
    return f"{socket.gethostname()} {known}"


def _read(path: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        return float(path.read_text())
    return None


async def _measure(harness: Path, seconds: float) -> float | None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", LAUNCH, str(harness), "-c", CODE, str(seconds)),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        cwd=harness, env=harness_environment("cpu"),
    )  # fmt: skip
    try:
        told, _ = await asyncio.wait_for(process.communicate(), WITHIN_S)
        return float(told)
    except (TimeoutError, ValueError):
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
