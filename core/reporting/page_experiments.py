"""The sections of a report's page about single experiments: near misses, what hurt, all of them, and what the human said. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from core.reporting import markup, phrases
from core.reporting.highlights import Highlight
from core.reporting.report import Report

COLUMNS = ("#", "change", phrases.BPB, "result")


def what(row: Highlight) -> str:
    """Return the short name of a change, with its hypothesis below. A name that is cut would only say the same twice."""
    name = row.full_name
    if name.endswith("…"):
        return markup.plain(row.hypothesis)
    more = "" if row.hypothesis.rstrip(".") == name else f"<small>{markup.plain(row.hypothesis)}</small>"
    return f"{markup.plain(name)}{more}"


def others(report: Report) -> str:
    """Return the near misses and the changes that hurt most."""
    parts = []
    for title, rows, none in (
        ("Near misses", report.near, "No other change gained more than its standard error."),
        ("What hurt most", report.hurt, "No change was worse by more than the noise."),
    ):
        parts.append(markup.section(title, _table(rows) if rows else markup.paragraph(none)))
    return "\n".join(parts)


def every(report: Report) -> str:
    """Return all experiments with a verdict in a table that opens at a click."""
    rows = report.experiments
    if not rows:
        return ""
    count = f"{len(rows)} experiment{'s' if len(rows) > 1 else ''}"
    return markup.section("All experiments", markup.folded(count, _table(rows)))


def hints(report: Report) -> str:
    """Return the hints of the human, and the reasons for skipping."""
    if not report.hints:
        return ""
    rows = "".join(f"<dt>{markup.plain(what)}</dt><dd>{markup.plain(text)}</dd>" for what, text in report.hints)
    return markup.section("What you told the agents", f"<dl>{rows}</dl>")


def _table(rows: Sequence[Highlight]) -> str:
    cells = [(str(row.number), what(row), markup.own(row.change_words), markup.plain(row.outcome)) for row in rows]
    return markup.table(COLUMNS, cells, COLUMNS[2:3])
