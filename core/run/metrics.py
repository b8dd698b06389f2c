"""Finds the curve that a training has left in the folder of its run."""

from __future__ import annotations

from pathlib import Path

from core.record.events import Measured
from core.record.experiment import experiment_id

NAME = "metrics.jsonl"
MOST_BYTES = 8 << 20  # bytes of a file that are read


def lines(folder: Path, measured: Measured | None) -> list[str]:
    """Return the lines of a training's metrics.jsonl; empty if there was no training or its file cannot be read.

    Args:
        folder: The folder of the run.
        measured: The event of the training.
    """
    if measured is None:
        return []
    number = measured.number if measured.role.own_folder and measured.number else 0
    path = folder / experiment_id(number) / measured.job / NAME
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(MOST_BYTES).splitlines()
    except OSError:
        return []
