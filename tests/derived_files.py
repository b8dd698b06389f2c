"""Writes results.tsv and notebook.md from the whole state of a run, as the loop writes them step by step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.judging import schedule
from core.record.state import State
from core.reporting import result_rows, results
from core.reporting.results import Header, Row


def publish(folder: Path, state: State, sigma: float) -> None:
    """Write both files. `sigma`: noise of one score, in bpb."""
    rows = result_rows.rows(state, sigma)
    results.replace(folder, tsv(rows), notebook(rows, result_rows.header(state, schedule.noise(state))))


def tsv(rows: Sequence[Row]) -> str:
    """Return the text of results.tsv."""
    return results.TITLES + "".join(map(results.tsv_line, rows))


def notebook(rows: Sequence[Row], header: Header) -> str:
    """Return the text of notebook.md."""
    verdicts = [row.verdict for row in rows if row.verdict is not None]
    return results.head(verdicts, header) + "".join(results.finding(row) for row in rows if row.verdict is not None)
