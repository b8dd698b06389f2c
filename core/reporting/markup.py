"""The pieces of the page of a report: escaped texts, tables, folded parts, diffs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from core.reporting.phrases import typeset
from core.target import TARGET
from core.text import sanitize_line, sanitize_text


def plain(text: str) -> str:
    """Return a text as one line of HTML."""
    return escape(sanitize_line(text))


def own(text: str) -> str:
    """Return a text of this program as HTML, with arrows and minus signs."""
    return plain(typeset(text))


def block(text: str) -> str:
    """Return a text of several lines as HTML."""
    return escape(sanitize_text(text))


def section(title: str, *parts: str) -> str:
    """Return a section with a title."""
    return f"<section>\n<h2>{plain(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def paragraph(text: str, css_class: str = "") -> str:
    """Return a paragraph of this program's own words."""
    return cell("p", own(text), css_class)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[str] = (), below: Sequence[str] = ()
) -> str:
    """Return a table. The cells are HTML.

    Args:
        columns: The heads of the columns.
        rows: The cells of each row.
        numbers: The columns with figures.
        below: What stands below each row, across all columns; () for nothing.
    """
    classes = [_column(column, column in numbers, "change" in columns) for column in columns]
    head = "".join(cell("th", plain(words), css) for words, css in zip(columns, classes, strict=True))
    lines = []
    for index, row in enumerate(rows):
        cells = "".join(cell("td", words, css) for words, css in zip(row, classes, strict=True))
        lines.append(f"<tr>{cells}</tr>")
        if below:
            lines[-1] = f'<tr class="open">{cells}</tr>'
            lines.append(f'<tr><td></td><td colspan="{len(columns) - 1}">{below[index]}</td></tr>')
    slim = "" if "change" in columns or len(columns) > 3 else ' class="slim"'
    body = "\n".join(lines)
    return f'<div class="scroll"><table{slim}>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def _column(name: str, number: bool, changes: bool) -> str:
    """Return the CSS classes of a column. `changes`: whether it is a table of changes, where phones hide what they can."""
    hidden = "more" if changes and name in ("pairs", TARGET.metric, "agent") else ""
    return " ".join(filter(None, ("n" if number else "", "wide" if name == "change" else "", hidden)))


def cell(tag: str, content: str, css_class: str) -> str:
    """Return an element. Its content is HTML."""
    chosen = f' class="{css_class}"' if css_class else ""
    return f"<{tag}{chosen}>{content}</{tag}>"


def folded(title: str, content: str) -> str:
    """Return a part that opens at a click. Its content is HTML."""
    return f"<details><summary>{own(title)}</summary>{content}</details>"


def diff(patch: str) -> str:
    """Return a unified diff with a colour for each kind of line."""
    lines, in_hunk = [], False
    for line in sanitize_text(patch, 400_000).split("\n"):
        in_hunk = (in_hunk or line.startswith("@@")) and not line.startswith("diff ")
        kind = "at" if line.startswith("@@") or not in_hunk else ""
        kind = kind or ("add" if line.startswith("+") else "del" if line.startswith("-") else "")
        lines.append(f'<i class="{kind}">{escape(line)}</i>' if kind else escape(line))
    return "<pre>" + "\n".join(lines).rstrip("\n") + "</pre>"


def charts(wide: str, small: str, caption: str) -> str:
    """Return a chart for large screens and one for phones."""
    return f"<figure>\n{wide}\n{small}\n<figcaption>{own(caption)}</figcaption>\n</figure>"
