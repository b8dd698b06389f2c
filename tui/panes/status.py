"""The status line: whether the loop is alive, the progress of the training and of the run, and warnings."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from core.judging.gain import Difference
from core.record.live import Waiting
from core.reporting import phrases
from core.reporting.summary import APPROVAL
from tui.textual_internals import Static
from tui.view import words
from tui.view.status import Status

BAR, SHORT_BAR, SHORTEST_BAR = 12, 8, 4  # columns of the progress bar
NARROW = 72  # columns of the screen below which the bar is shortest
GAP = "  "


class StatusLine(Static):
    """One line, or two on a small screen."""

    def __init__(self, text: str) -> None:
        """`text` is shown until the journal is read."""
        super().__init__(text, id="status", markup=False)
        self._line_breaks = -1

    def show(self, status: Status, waiting: Waiting | None, small: bool, extra: Sequence[str]) -> None:
        """Show a status.

        Args:
            status: The status.
            waiting: The proposal that waits for an answer, or None.
            small: Whether the screen is small. Then there are two lines.
            extra: Texts for the second line: the loss and the machine.
        """
        width = max(40, self.app.size.width)
        question = [_question(waiting)] if waiting else []
        if not small:
            score = _score(status)
            parts = [_activity(status, BAR), *question, *score, *_circumstances(status)]
            needed = 1 + len(question) + (2 if status.checked is not None else 1)  # the result comes before all else
            self._update_line(_join_fitting(parts, [_health(status)], width, needed=needed))
            return
        right = question or ([_health(status)] if status.alarm else [])
        is_told = not status.alive and status.alarm.startswith(status.doing)  # such as "finished: reached a limit"
        sign = [] if is_told and not question else [_life_sign(status)]
        score = _score(status, brief=True)
        first = _join_fitting(
            [_activity(status, SHORT_BAR if width >= NARROW else SHORTEST_BAR, brief=True), *score], sign, width
        )
        shown = [Content(f" {extra[0]}"), *(Content(one) for one in extra[1:])] if extra else []
        second = _join_fitting([*shown, *_circumstances(status)], right, width, needed=0)
        self._update_line(Content("\n").join([first, second]))

    def _update_line(self, content: Content) -> None:
        """Update the text. The layout is only computed again if the number of lines changes."""
        line_breaks = content.plain.count("\n")
        self.update(content, layout=line_breaks != self._line_breaks)
        self._line_breaks = line_breaks


def _activity(status: Status, width: int, *, brief: bool = False) -> Content:
    """Return what the loop does, with the progress of the phase. This is shown at any width. `brief`: in few words."""
    line = Content.assemble(" ", (status.run, "bold $accent"), GAP, (status.doing, "bold"))
    if status.progress is not None:
        full, rest = words.bar(status.progress, width)
        left = f" {words.clock(status.left_s):>4}{'' if brief else ' left'}" if status.left_s is not None else ""
        if status.budget_s and not brief:
            left = f" of {words.duration(status.budget_s)}{left}"
        line += Content.assemble(GAP, (full, "$accent"), (rest, "$foreground 25%"), f" {status.progress:>4.0%}{left}")
    return line


def _score(status: Status, *, brief: bool = False) -> list[Content]:
    """Return the results of the run so far, most important first. `brief`: in few words, for a small screen."""
    found = status.gain
    if status.kept:
        best = Content.assemble("best ", (words.bpb(found.best if found else None), "bold $success"))
    else:
        best = _start(found, brief=brief)
    if found is not None and status.kept and status.checked is None:
        error = "" if brief else f" ± {found.error:.4f}"
        best += Content.styled(f" {words.change(found.change)}{error}", "$success")
    parts = [best, Content(f"{status.kept}/{status.tried} kept")]
    if status.checked is not None:
        fresh = words.afresh(status.checked, brief=brief)
        parts.insert(1, Content.styled(fresh, "$success" if status.checked.holds else "$warning"))
    if status.sigma is not None:
        parts += [Content(f"noise {status.sigma:.4f}"), Content(f"({status.noise_range})")]
    return parts


def _start(gain: Difference | None, *, brief: bool) -> Content:
    """Return the score of the start, with the number of its seeds: it moves with each of them, although nothing was kept."""
    if gain is None or brief:
        return Content.assemble("start ", (words.bpb(gain.start if gain else None), "bold"))
    return Content.assemble("start ", (phrases.start_score(gain), "bold"))


def _circumstances(status: Status) -> list[Content]:
    """Return the machine's speed, the agent, the approval mode, the experiments per hour and the duration."""
    gate = APPROVAL[status.gate] if status.alive else ""
    rate = [Content(f"{status.per_hour:.1f}/h")] if status.per_hour is not None else []
    machine = [Content.styled(status.machine, "$warning")] if status.machine else []
    running = Content(words.duration(status.worked_s))
    return [*machine, Content(status.agent), Content.styled(gate, "$foreground 60%" if gate else ""), *rate, running]


def _life_sign(status: Status) -> Content:
    if status.alive:
        return Content.styled("● alive", "$success")
    return Content.styled(f"○ {status.doing}", "bold $error" if status.doing == "dead" else "$foreground 60%")


def _health(status: Status) -> Content:
    """Return the warning, or that the loop is alive."""
    if not status.alarm:
        return _life_sign(status)
    tone = (
        "$warning" if status.alive else "$foreground 80%" if status.doing in ("finished", "stopped") else "bold $error"
    )
    return Content.styled(f"{'●' if status.alive else '○'} {status.alarm}", tone)


def _question(waiting: Waiting) -> Content:
    left = "(countdown paused)" if waiting.held else words.clock(waiting.left_s)
    return Content.styled(f"#{waiting.number} waits {left}", "bold $warning")


def _join_fitting(parts: list[Content], right: list[Content], width: int, needed: int = 1) -> Content:
    """Return a line of `width` columns, with parts at the left and `right` at its right end.

    The first `needed` parts are always shown, and shorten what is at the right if they must. Of the others, one that does not fit
    is left out, but a shorter one after it may still fit.
    """
    line, tail = Content(GAP).join(parts[:needed]), Content(GAP).join(right)
    if tail.cell_length > (most := max(width // 4, width - line.cell_length - 3)):
        tail = tail.truncate(most, ellipsis=True)
    room = width - tail.cell_length - 3
    for part in (part for part in parts[needed:] if len(part)):
        if (longer := Content(GAP).join([line, part]) if len(line) else part).cell_length <= room:
            line = longer
    return Content.assemble(line, " " * max(1, width - line.cell_length - tail.cell_length - 1), tail)
