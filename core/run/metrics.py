"""Finds the curve that a training has left in the folder of its run."""

from __future__ import annotations

from pathlib import Path

from core.record.events import Measured
from core.record.experiment import job_folder
from nanochat.contract.layout import METRICS

MOST_BYTES = 8 << 20  # bytes of a file that are read


def lines(folder: Path, measured: Measured | None, most: int = MOST_BYTES) -> list[str]:
    """Return the lines of a training's metrics.jsonl; empty if there was no training or its file cannot be read.

    Args:
        folder: The folder of the run.
        measured: The event of the training.
        most: How many bytes of the file are read.
    """
    if measured is None:
        return []
    path = job_folder(folder, measured.role, measured.number, measured.job) / METRICS
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(most).splitlines()
    except OSError:
        return []
