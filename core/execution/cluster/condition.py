"""What this node has for trainings: memory, space, and whether it can hold a trainer in the sandbox."""

from __future__ import annotations

import shutil
from pathlib import Path

from core.execution import sandboxing
from core.execution.cluster.messages import Condition, Facts
from core.machine import stats

ROOT = Path(__file__).resolve().parents[3]


def condition(facts: Facts, cache: Path, device: str) -> Condition:
    """Examine this node.

    Args:
        facts: The node, for this device.
        cache: Its cache folder.
        device: cpu or cuda.
    """
    finding = sandboxing.check(ROOT, device)
    return Condition(
        facts=facts, memory=stats.memory_total(), free=shutil.disk_usage(cache).free, lacks=finding.missing,
        failed=finding.error,
    )  # fmt: skip
