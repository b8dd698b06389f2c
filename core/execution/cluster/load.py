"""How busy a node is, for the machine pane of the app."""

from __future__ import annotations

import time

from core.machine.stats import Meter
from core.record.live import Load

EVERY_S = 2.0  # between two readings


class LoadMeter:
    """Reads the load of this machine.

    Args:
        device: cpu for that of the processors, cuda for that of the first card that this process sees.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._meter = Meter()
        self._due = 0.0

    def read(self) -> Load | None:
        """Return the load; None if it was read within the last EVERY_S seconds, or cannot be read."""
        if time.monotonic() < self._due:
            return None
        self._due = time.monotonic() + EVERY_S
        try:
            return self._load()
        except Exception:  # of a driver; a training must not end for it
            return None

    def _load(self) -> Load:
        reading = self._meter.read(())
        if self._device == "cuda" and reading.gpus:
            card = reading.gpus[0]
            return Load(
                busy=card.utilisation, memory_used=card.memory_used, memory_total=card.memory_total,
                temperature=card.temperature,
            )  # fmt: skip
        return Load(busy=reading.cpu_percent, memory_used=reading.memory_used, memory_total=reading.memory_total)
