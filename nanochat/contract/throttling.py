"""The reasons for which a GPU is slower than it could be, as its driver gives them."""

from __future__ import annotations

# Bits of nvmlClocksEventReasons in nvml.h. Those of idle clocks and power caps are left out, since they are normal.
REASONS = {0x08: "hardware slowdown", 0x20: "heat", 0x40: "heat", 0x80: "power brake"}


def reasons(bits: object) -> tuple[str, ...]:
    """Return why the clock is throttled, each reason once, or () if it is not or the driver gave no number."""
    found = [words for bit, words in REASONS.items() if isinstance(bits, int) and bits & bit]
    return tuple(dict.fromkeys(found))
