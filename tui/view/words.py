"""Format figures and texts for the app."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence

from core.judging.final_check import FinalCheck
from core.record.experiment import Experiment
from core.reporting import phrases
from core.reporting.phrases import verdict as verdict
from core.text import sanitize_line as sanitize_line
from core.text import sanitize_text as sanitize_text

MISSING = "–"  # shown for an unknown figure
BLOCKS = "▁▂▃▄▅▆▇█"
LARGEST = 1e300  # larger values are clipped to this, so that differences stay finite


def verdict_letter(experiment: Experiment) -> str:
    """Return the letter of an experiment's verdict, or a space without a verdict."""
    return experiment.verdict.letter if experiment.verdict else " "


def bpb(value: float | None) -> str:
    """Format a val_bpb with four decimals."""
    return f"{value:.4f}" if value is not None and math.isfinite(value) else MISSING


def afresh(check: FinalCheck, *, brief: bool) -> str:
    """Return the result of a final check, and how much of it is measured if it is not complete. `brief`: in few words."""
    so_far = "" if check.complete else f" {check.seeds}/{check.wanted}"
    return f"{'afresh' if brief else 'measured afresh'}{so_far} {change(check.change)} ± {check.error:.4f}"


def change(value: float | None) -> str:
    """Format a difference of two val_bpb with its sign, using the Unicode minus sign."""
    if value is None or not math.isfinite(value):
        return MISSING
    return phrases.change(value).replace("-", "−")


def memory(size: float | None) -> str:
    """Format a number of bytes in GB, or in MB if it is less than one GB."""
    if not size:
        return MISSING
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def rate(tokens_per_s: float | None) -> str:
    """Format tokens per second, such as 8.5k, 24k or 1.7M."""
    if not tokens_per_s or not math.isfinite(tokens_per_s):
        return MISSING
    if tokens_per_s >= 1e6:
        return f"{tokens_per_s / 1e6:.1f}M"
    return f"{tokens_per_s / 1e3:.0f}k" if tokens_per_s >= 1e4 else f"{tokens_per_s / 1e3:.1f}k"


def clock(seconds: float) -> str:
    """Format the time left as minutes and seconds, such as 2:24."""
    left = max(0, math.ceil(seconds))
    return f"{left // 60}:{left % 60:02d}"


def duration(seconds: float) -> str:
    """Format a duration, such as 6h12m, 4m or 50s. Minutes are rounded down."""
    if seconds < 60:
        return f"{max(0, seconds):.0f}s"
    minutes = int(seconds // 60)
    return f"{minutes // 60}h{minutes % 60:02d}m" if minutes >= 60 else f"{minutes}m"


def wrap_indented(text: str, width: int, indent: int) -> str:
    """Wrap text to `width` columns and indent all lines but the first, which follows a label of that width."""
    return ("\n" + " " * indent).join(textwrap.wrap(text, max(20, width - indent), break_on_hyphens=False))


def bar(share: float, width: int) -> tuple[str, str]:
    """Return the full and the empty part of a progress bar, which differ without colours too."""
    share = min(1.0, max(0.0, share)) if math.isfinite(share) else 0.0
    halves = round(share * width * 2)
    full = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    return full, "─" * (width - len(full))


def sparkline(values: Sequence[float], width: int) -> str:
    """Return a sparkline of at most `width` blocks. Values that are not finite are left out."""
    finite = [max(-LARGEST, min(LARGEST, value)) for value in values if math.isfinite(value)]
    if not finite or width < 1:
        return ""
    count = min(width, len(finite))
    cuts = [len(finite) * i // count for i in range(count + 1)]
    means = [sum(finite[a:b]) / (b - a) for a, b in itertools.pairwise(cuts)]
    low, high = min(means), max(means)
    height = high - low or 1.0
    return "".join(BLOCKS[round((value - low) / height * (len(BLOCKS) - 1))] for value in means)
