"""The table of all runs, for `runs`. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence

from core.reporting.phrases import begun_as, change, dataset, duration, one_line
from core.reporting.status import RunStatus

HEADER = ("run", "began", "worked", "training", "agent", "kept", "start", "change (- is better)", "phase")
RIGHT = (2,)  # columns that are aligned to the right
WIDTH = 140  # characters of a line
PHASE, AGENT, DATA = 20, 14, 12  # characters that a phase always has, and that an agent and a dataset have at most
GAP = "  "


def table(runs: Sequence[RunStatus | str], width: int = WIDTH) -> list[str]:
    """Return a header, and one line for each run. The phase is cut where the line would be too long.

    Args:
        runs: The status of each run, or a sentence for one that cannot be read. The sentence is its line.
        width: Characters of a line. Long names make it longer.
    """
    rows = [cells(status) for status in runs if not isinstance(status, str)]
    widths = [max(map(len, column)) for column in zip(HEADER[:-1], *rows, strict=True)]
    room = max(PHASE, width - sum(widths) - len(GAP) * len(widths))
    lines = [_line(HEADER[:-1], widths, HEADER[-1])] if rows else []
    for status in runs:
        if isinstance(status, str):
            lines.append(status)
        else:
            phase = one_line(status.phase, room) + begun_as(status.run, status.begun_as)
            lines.append(_line(cells(status), widths, phase))
    return lines


def cells(status: RunStatus) -> tuple[str, ...]:
    """Return the columns of a run but the last, in the order of `HEADER`."""
    gain = status.gain
    return (
        status.run,
        time.strftime("%m-%d %H:%M", time.localtime(status.begun_t)) if status.begun_t else "-",
        duration(status.worked_s),
        f"{'rehearsal' if status.rehearsal else f'{status.device} {status.budget_s:g} s'}, {one_line(dataset(status.dataset), DATA)}",
        one_line(status.agent, AGENT),
        f"{status.kept} of {status.tried}",
        f"{status.baseline:.4f}" if status.baseline is not None else "-",
        change(gain.change, gain.error) if gain is not None and status.kept else "-",
    )


def _line(cells: Sequence[str], widths: Sequence[int], phase: str) -> str:
    columns = (
        f"{cell:>{width}}" if at in RIGHT else f"{cell:<{width}}"
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return GAP.join((*columns, phase))
