"""Words, letters and figures as the app writes them. Pure."""

from __future__ import annotations

import itertools
import math
import textwrap

from core.record.state import Experiment
from core.reporting.report import verdict as verdict
from core.text import sanitize_line as sanitize_line
from core.text import sanitize_text as sanitize_text

MISSING = "–"


def letter(experiment: Experiment) -> str:
    return experiment.verdict.letter if experiment.verdict else " "


def bpb(value: float | None) -> str:
    """val_bpb with four digits."""
    return f"{value:.4f}" if value is not None and math.isfinite(value) else MISSING


def change(value: float | None) -> str:
    """A signed difference of val_bpb; down is better. A true minus sign."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:+.4f}".replace("-", "−")


def memory(size: float | None) -> str:
    """Bytes as GB, or MB where that says more."""
    if not size:
        return MISSING
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def rate(tokens_per_s: float | None) -> str:
    """Tokens per second."""
    if not tokens_per_s or not math.isfinite(tokens_per_s):
        return MISSING
    if tokens_per_s >= 1e6:
        return f"{tokens_per_s / 1e6:.1f}M"
    return f"{tokens_per_s / 1e3:.0f}k" if tokens_per_s >= 1e4 else f"{tokens_per_s / 1e3:.1f}k"


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    left = max(0, math.ceil(seconds))
    return f"{left // 60}:{left % 60:02d}"


def span(seconds: float) -> str:
    """A long time: 6h12m, 4m, 50s."""
    if seconds < 60:
        return f"{max(0, seconds):.0f}s"
    minutes = int(seconds // 60)
    return f"{minutes // 60}h{minutes % 60:02d}m" if minutes >= 60 else f"{minutes}m"


def hanging(text: str, width: int, indent: int) -> str:
    """Text that begins `indent` columns from the left, wrapped to `width` so that all its lines do."""
    return ("\n" + " " * indent).join(textwrap.wrap(text, max(20, width - indent), break_on_hyphens=False))


def bar(share: float, width: int) -> tuple[str, str]:
    """A progress bar as its full and its empty part."""
    share = min(1.0, max(0.0, share)) if math.isfinite(share) else 0.0
    halves = round(share * width * 2)
    full = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    return full, "━" * (width - len(full))


BLOCKS = "▁▂▃▄▅▆▇█"
LARGEST = 1e300  # differences stay finite


def sparkline(values: list[float], width: int) -> str:
    """The last `width` buckets of a series as blocks; what is not finite is left out."""
    found = [max(-LARGEST, min(LARGEST, value)) for value in values if math.isfinite(value)]
    if not found or width < 1:
        return ""
    count = min(width, len(found))
    cuts = [len(found) * i // count for i in range(count + 1)]
    means = [sum(found[a:b]) / (b - a) for a, b in itertools.pairwise(cuts)]
    low, high = min(means), max(means)
    span = high - low or 1.0
    return "".join(BLOCKS[round((value - low) / span * (len(BLOCKS) - 1))] for value in means)
