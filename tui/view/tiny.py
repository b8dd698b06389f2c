"""The status in a few short lines, for a terminal that is too small for the panes. The table is below them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from textual.content import Content

from core.record.live import Waiting
from tui.view import words
from tui.view.diffs import Line, Palette
from tui.view.experiments import Row
from tui.view.layout import LEAST
from tui.view.status import Status

BAR = 10  # columns of the progress
HYPOTHESIS_LINES = 3
TALL = 12  # rows from which a line says what the panes need


class ProposalText(NamedTuple):
    """The text of the proposal that waits: its hypothesis, and the lines of its change."""

    hypothesis: str
    change: Sequence[Line]


def tiny_lines(
    status: Status,
    waiting: Waiting | None,
    proposal: ProposalText | None,
    last: Row | None,
    size: tuple[int, int],
    palette: Palette,
) -> list[Content]:
    """Return the lines, most important first, as a small terminal shows only the first ones.

    Args:
        status: The status.
        waiting: The proposal that waits for an answer, or None.
        proposal: Its text; None if the terminal is too small for it.
        last: The last experiment with a verdict; None if there is none, or if the table shows it.
        size: Columns and rows for the lines.
        palette: The styles of added and removed lines.
    """
    lines = _progress(status)
    rest = _result(status)
    if waiting is None:
        rest += [_last(last)] if last is not None else []
    if status.alarm:
        rest.append(Content(f"{'●' if status.alive else '○'} {status.alarm}"))
    if size[1] >= TALL:
        rest.append(_least())
    if waiting is not None:
        stands = "waits, countdown paused" if waiting.held else f"is approved in {words.clock(waiting.left_s)}"
        lines.append(Content.styled(f"#{waiting.number} {stands}", "bold $warning"))
        if proposal is None:
            lines.append(Content.styled("enlarge the terminal to answer", "$warning"))
        else:
            lines += _question(proposal, size[0], size[1] - len(lines) - len(rest), palette)
    return lines + rest


def first_lines(run: str) -> list[Content]:
    """Return the lines until the journal is read."""
    return [Content.assemble((words.sanitize_line(run, 60), "bold $accent"), " waits for its journal"), _least()]


def _progress(status: Status) -> list[Content]:
    """Return what the loop does, and a bar while something trains."""
    alive = ("  ● alive", "$success") if status.alive and not status.alarm else ""
    lines = [Content.assemble((status.run, "bold $accent"), " ", (status.doing, "bold"), alive)]
    if status.progress is not None:
        full, rest = words.bar(status.progress, BAR)
        left = f"  {words.clock(status.left_s)} left" if status.left_s is not None else ""
        lines.append(Content.assemble((full, "$accent"), (rest, "$foreground 25%"), f" {status.progress:.0%}{left}"))
    return lines


def _result(status: Status) -> list[Content]:
    """Return the result of the run so far, and that of its final check."""
    found = status.gain
    best = Content.assemble("best " if status.kept else "start ", (words.bpb(found.best if found else None), "bold"))
    if found is not None and status.kept:
        best += Content.styled(f" {words.change(found.change)}", "$success")
    lines = [best + Content(f"  {status.kept}/{status.tried} kept")]
    if status.checked is not None:
        tone = "$success" if status.checked.holds else "$warning"
        lines.append(Content.styled(words.afresh(status.checked, brief=True), tone))
    return lines


def _last(row: Row) -> Content:
    change = f" {words.change(row.change)}" if row.change is not None else ""
    return Content.assemble(
        f"#{row.number} ", (f"{row.verdict}{change}", f"${row.tone}" if row.tone else ""), f" {row.hypothesis}"
    )


def _question(proposal: ProposalText, width: int, height: int, palette: Palette) -> list[Content]:
    """Return the hypothesis, and as many changed lines as fit into `height` rows."""
    hypothesis = textwrap.wrap(
        words.sanitize_line(proposal.hypothesis, 1000), max(20, width), max_lines=HYPOTHESIS_LINES, placeholder=" …"
    )
    changed = [line for line in proposal.change if line.sign in "+-"]
    room = max(0, height - len(hypothesis))
    room = room if len(changed) <= room else max(0, room - 1)  # a row says how many lines are missing
    lines = [Content.styled(line, "bold") for line in hypothesis]
    lines += [
        Content.assemble((f"{line.sign} ", palette.signs[line.sign]), line.text.strip()) for line in changed[:room]
    ]
    if len(changed) > room:
        lines.append(Content.styled(f"… and {len(changed) - room} more", "$foreground 60%"))
    return lines


def _least() -> Content:
    return Content.styled(f"panes from {LEAST[0]}x{LEAST[1]}", "$foreground 60%")
