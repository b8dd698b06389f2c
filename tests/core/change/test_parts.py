"""Combinations are split into their changes, each of which is a train.py that the contract accepts."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from core.change import edits, knobs, parts
from core.model import Part
from core.target import TARGET

SHIPPED = (Path(__file__).resolve().parents[3] / "nanochat" / "train.py").read_text()
GELU = next(entry for entry in TARGET.book if entry.name == "gelu")
WIDER = Part(name="a knob", gain=0.0, error=0.0, knobs={"EMBED_LR": 0.33})
STRUCTURE = Part(name="an idea", gain=0.0, error=0.0, edits=("gelu",))
SLOWER = Part(name="another knob", gain=0.0, error=0.0, knobs={"MATRIX_LR": 0.011})
UNKNOWN = Part(name="not noted", gain=0.0, error=0.0)
WHOLE = knobs.set_knobs(edits.apply(SHIPPED, GELU.edits), WIDER.knobs | SLOWER.knobs)


def test_each_change_is_a_step_and_the_last_has_the_whole_text() -> None:
    first, second, last = parts.steps(SHIPPED, WHOLE, (WIDER, STRUCTURE, SLOWER))
    assert (first.name, second.name, last.name) == ("a knob", "an idea", "another knob")
    assert first.source == knobs.set_knobs(SHIPPED, WIDER.knobs) and last.source == WHOLE
    assert second.source == edits.apply(first.source, GELU.edits)
    for before, after in ((SHIPPED, first.source), (first.source, second.source), (second.source, last.source)):
        edits.validate_change(before, after)


def test_a_part_that_changes_nothing_by_itself_is_joined_with_the_next() -> None:
    found = parts.steps(SHIPPED, WHOLE, (WIDER, replace(WIDER, name="the same"), STRUCTURE, SLOWER))
    assert [step.name for step in found] == ["a knob", "the same, an idea", "another knob"]


@pytest.mark.parametrize(
    "broken",
    [UNKNOWN, replace(UNKNOWN, knobs={"NO_SUCH_KNOB": 1}), replace(UNKNOWN, edits=("no such idea",))],
)
def test_a_part_that_does_not_apply_is_joined_with_all_after_it(broken: Part) -> None:
    found = parts.steps(SHIPPED, WHOLE, (WIDER, broken, STRUCTURE, SLOWER))
    assert [step.name for step in found] == ["a knob", "not noted, an idea, another knob"]
    assert found[-1].source == WHOLE


def test_what_cannot_be_split_is_one_step() -> None:
    assert parts.steps(SHIPPED, WHOLE, (UNKNOWN, UNKNOWN)) == (parts.Step("not noted, not noted", WHOLE),)


def test_no_step_touches_what_is_off_limits() -> None:
    found = parts.steps(SHIPPED, WHOLE, (WIDER, STRUCTURE, SLOWER), off_limits=("EMBED_LR",))
    assert [step.name for step in found] == ["a knob, an idea, another knob"]
