"""The status in a few short lines, for a terminal that is too small for the panes."""

from __future__ import annotations

from textual.content import Content

from core.record.live import Waiting
from tui.view import words
from tui.view.experiments import Row
from tui.view.status import Status

BAR = 10  # columns of the progress


def tiny_lines(status: Status, waiting: Waiting | None, last: Row | None, needs: tuple[int, int]) -> list[Content]:
    """Return the lines, most important first, as a small terminal shows only the first ones.

    Args:
        status: The status.
        waiting: The proposal that waits for an answer, or None.
        last: The last experiment with a verdict, or None.
        needs: Columns and rows from which the panes are shown.
    """
    doing = Content.assemble((status.run, "bold $accent"), " ", (status.doing, "bold"))
    lines = [doing]
    if status.progress is not None:
        full, rest = words.bar(status.progress, BAR)
        left = f"  {words.clock(status.left_s)} left" if status.left_s is not None else ""
        lines.append(Content.assemble((full, "$accent"), (rest, "$foreground 25%"), f" {status.progress:.0%}{left}"))
    if waiting is not None:
        stands = "waits, countdown paused" if waiting.held else f"is approved in {words.clock(waiting.left_s)}"
        lines.append(Content.styled(f"#{waiting.number} {stands}", "bold $warning"))
        lines.append(Content.styled("enlarge the terminal to answer", "$warning"))
    found = status.gain
    best = Content.assemble("best " if status.kept else "start ", (words.bpb(found.best if found else None), "bold"))
    if found is not None and status.kept:
        best += Content.styled(f" {words.change(found.change)}", "$success")
    lines.append(best + Content(f"  {status.kept}/{status.tried} kept"))
    if status.checked is not None:
        tone = "$success" if status.checked.holds else "$warning"
        lines.append(Content.styled(f"afresh {words.change(status.checked.change)} ± {status.checked.error:.4f}", tone))
    if last is not None:
        change = f" {words.change(last.change)}" if last.change is not None else ""
        tone = f"${last.tone}" if last.tone else ""
        lines.append(Content.assemble(f"#{last.number} ", (f"{last.verdict}{change}", tone), f" {last.hypothesis}"))
    sign = "●" if status.alive else "○"
    lines.append(Content(f"{sign} {status.alarm or ('alive' if status.alive else status.doing)}"))
    lines.append(_keys(needs))
    return lines


def first_lines(run: str, needs: tuple[int, int]) -> list[Content]:
    """Return the lines until the journal is read."""
    return [Content.assemble((words.sanitize_line(run, 60), "bold $accent"), " waits for its journal"), _keys(needs)]


def _keys(needs: tuple[int, int]) -> Content:
    return Content.styled(f"panes from {needs[0]}x{needs[1]} · q closes the app", "$foreground 60%")
