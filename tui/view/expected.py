"""The changes of a combination as a small bar chart: what each was expected to do alone, all together, and what was measured."""

from __future__ import annotations

from typing import NamedTuple

from textual.content import Content

from core.record.experiment import Experiment
from tui.view import words

LONGEST_NAME = 34
BAR = 24  # columns of the longest bar, error included
LEAST_BAR = 8
FIGURES = len("−0.0123 ± 0.0123")


class _Bar(NamedTuple):
    name: str
    gain: float  # bpb; positive is better
    error: float
    color: str


def chart(experiment: Experiment, width: int, measured: tuple[float, float] | None) -> list[Content]:
    """Return a line with a bar for each change of a combination, for their sum, and for the measured change.

    A bar ends at the mean, and its dotted part at the mean plus the standard error. Returns an empty list for other experiments, and
    if the human revised the change.

    Args:
        experiment: The experiment.
        width: Columns of a line.
        measured: Its gain over the pairs with its parent and the standard error, in bpb; None if it was not measured.
    """
    notes = experiment.notes
    if experiment.revised or not notes.parts or notes.expected is None:
        return []
    bars = [
        _Bar(words.sanitize_line(part.name, LONGEST_NAME), part.gain, part.error, "$accent") for part in notes.parts
    ]
    bars.append(_Bar("together", *notes.expected, "$accent"))
    if measured is not None:
        bars.append(_Bar("measured", *measured, "$success" if measured[0] > 0 else "$error"))
    name_width = max(len(bar.name) for bar in bars)
    room = max(LEAST_BAR, min(BAR, width - name_width - FIGURES - 4))
    longest = max(max(abs(bar.gain) + bar.error for bar in bars), 1e-9)
    return [_line(bar, name_width, room, longest) for bar in bars]


def _line(bar: _Bar, name_width: int, room: int, longest: float) -> Content:
    solid = round(room * abs(bar.gain) / longest)
    dotted = round(room * (abs(bar.gain) + bar.error) / longest) - solid
    figures = f"{words.change(-bar.gain)} ± {bar.error:.4f}"
    return Content.assemble(
        f"{bar.name:<{name_width}}  ", ("━" * solid, bar.color), ("┄" * dotted, "$foreground 60%"),
        " " * (room - solid - dotted), f"  {figures}",
    )  # fmt: skip
