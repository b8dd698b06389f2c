"""The changes of a combination as bars."""

from __future__ import annotations

import pytest

from core.model import NO_NOTES, Notes, Part
from core.record import events as ev
from core.record.experiment import Experiment
from tui.view.expected import chart

PARTS = (Part(name="EMBED_LR 0.2 -> 0.3", gain=0.004, error=0.002), Part(name="swiglu", gain=0.001, error=0.003))
NOTES = Notes(knobs={"EMBED_LR": 0.3}, edits=("swiglu",), expected=(0.005, 0.003), parts=PARTS)


def tried(notes: Notes = NOTES) -> Experiment:
    proposed = ev.Proposed(
        number=1, commit="c", parent="p", fingerprint="f", hypothesis="h", agent="search", charter="", notes=notes
    )
    return Experiment(proposed)


def test_each_change_has_a_bar_as_long_as_its_gain_and_a_dotted_error() -> None:
    first, second, together = (line.plain for line in chart(tried(), 80, None))
    assert first.startswith("EMBED_LR 0.2 -> 0.3  ━") and first.endswith("  −0.0040 ± 0.0020")
    assert second.startswith("swiglu               ━") and together.endswith("  −0.0050 ± 0.0030")
    assert [line.count("━") for line in (first, second, together)] == [12, 3, 15]
    assert [line.count("━") + line.count("┄") for line in (first, second, together)] == [18, 12, 24]
    assert len({len(line) for line in (first, second, together)}) == 1, "the figures are in one column"


@pytest.mark.parametrize(("gain", "figure", "color"), [(0.003, "−0.0030", "success"), (-0.003, "+0.0030", "error")])
def test_what_was_measured_stands_below(gain: float, figure: str, color: str) -> None:
    line = chart(tried(), 80, (gain, 0.001))[-1]
    assert line.plain.startswith("measured ") and f"  {figure} ± 0.0010" in line.plain
    assert any(color in str(span.style) for span in line.spans)


def test_other_experiments_have_no_bars_and_a_narrow_line_has_short_ones() -> None:
    assert chart(tried(NO_NOTES), 80, (0.01, 0.001)) == []
    revised = tried()
    revised.revised = ev.Revised(number=1, commit="d", fingerprint="g", hypothesis="mine")
    assert chart(revised, 80, (0.01, 0.001)) == [], "what was measured is another change"
    assert max(len(line.plain) for line in chart(tried(), 50, (0.02, 0.001))) <= 50
