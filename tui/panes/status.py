"""The status line: is it alive, how far is this one, is the night going well, is something wrong."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from core.record.live import Waiting
from tui.view import words
from tui.view.status import Status

BAR = 12
GAP = "  "


class StatusLine(Static):
    """One line; two where the screen is small."""

    def __init__(self, first: str) -> None:
        """`first` is shown until more is known."""
        super().__init__(first, id="status", markup=False)
        self._lines = -1

    def show(self, found: Status, waiting: Waiting | None, small: bool, extra: str) -> None:
        """`extra` is the loss and the machine in few words, for the second line of a small screen."""
        width = max(40, self.app.size.width)
        asks = [_asks(waiting)] if waiting else []
        if not small:
            self._write(_fit([*_now(found, BAR), *asks, *_score(found), *_rest(found)], [_health(found)], width))
            return
        first = _fit([*_now(found, BAR - 4), *_score(found)], [_dot(found)], width)
        second = _fit([Content(f" {extra}"), *_rest(found)], asks or ([_health(found)] if found.alarm else []), width)
        self._write(Content("\n").join([first, second]))

    def _write(self, content: Content) -> None:
        """Only another number of lines moves anything else on the screen."""
        lines = content.plain.count("\n")
        self.update(content, layout=lines != self._lines)
        self._lines = lines


def _now(found: Status, width: int) -> list[Content]:
    """What it does, and how far it is: these stay whatever the width."""
    line = Content.assemble(" ", (found.run, "bold $accent"), GAP, (found.doing, "bold"))
    if found.progress is not None:
        full, rest = words.bar(found.progress, width)
        left = f" {words.clock(found.left_s)}" if found.left_s is not None else ""
        line += Content.assemble(GAP, (full, "$accent"), (rest, "$foreground 25%"), f" {found.progress:.0%}{left}")
    return [line]


def _score(found: Status) -> list[Content]:
    """How the night goes; the most important first."""
    best = Content.assemble("best ", (words.bpb(found.best), "bold $success" if found.kept else "bold"))
    if found.delta is not None and found.kept:
        best += Content.assemble(" ", (words.change(found.delta), "$success"))
    parts = [best, Content(f"{found.kept}/{found.tried} kept")]
    if found.sigma is not None:
        parts += [
            Content(f"noise {found.sigma:.4f}"),
            Content(f"({found.noise_range})"),
        ]  # the range where there is room
    return parts


def _rest(found: Status) -> list[Content]:
    asks = "asks you" if found.gate == "ask" else "unattended"
    rate = [Content(f"{found.per_hour:.1f}/h")] if found.per_hour is not None else []
    span = [Content(words.span(found.running_s))]
    machine = [Content.styled(found.machine, "$warning")] if found.machine else []
    return [*machine, Content(found.agent), Content.styled(asks, "$foreground 60%"), *rate, *span]


def _dot(found: Status) -> Content:
    return Content.styled("● alive", "$success") if found.alive else Content.styled("○ no loop", "bold $error")


def _health(found: Status) -> Content:
    """The one thing that is wrong, in words, or that nothing is."""
    if not found.alarm:
        return _dot(found)
    tone = "$warning" if found.alive else "$foreground 80%" if found.doing == "finished" else "bold $error"
    return Content.styled(f"{'●' if found.alive else '○'} {found.alarm}", tone)


def _fit(parts: list[Content], right: list[Content], width: int) -> Content:
    """As many parts as fit, from the left; what is at the right always stands there."""
    parts, tail = [part for part in parts if len(part)], Content(GAP).join(right)
    if tail.cell_length > width // 2:
        tail = Content(tail.plain[: width // 2 - 1] + "…")
    room = width - tail.cell_length - 3
    line, *others = parts
    for part in others:  # one that is too long does not keep out a shorter one behind it
        if (longer := Content(GAP).join([line, part])).cell_length <= room:
            line = longer
    return Content.assemble(line, " " * max(1, width - line.cell_length - tail.cell_length - 1), tail)


def _asks(waiting: Waiting) -> Content:
    left = "(clock held)" if waiting.held else words.clock(waiting.left_s)
    return Content.styled(f"#{waiting.number} waits {left}", "bold $warning")
