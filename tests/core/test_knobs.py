"""Knobs: read from the block on top, written back with their comments."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import knobs
from core.agents.ranges import of, sensible, whole_batch

SHIPPED = (Path(__file__).resolve().parents[2] / "nanochat" / "train.py").read_text()
SOURCE = 'import os\nLR = 0.1  # rate\nN = 2**10   # size\nNAME = "SL"  # pattern\nON = True  # switch\n\ndef f():\n    X = 3\nY = 4\n'


def test_the_block_on_top_is_read_with_its_comments() -> None:
    found = {knob.name: (knob.value, knob.comment) for knob in knobs.read(SOURCE)}
    assert found == {"LR": (0.1, "rate"), "N": (1024, "size"), "NAME": ("SL", "pattern"), "ON": (True, "switch")}


def test_values_are_set_and_comments_stay() -> None:
    changed = knobs.set_knobs(SOURCE, {"LR": 0.25, "N": 512, "NAME": "L"})
    assert "LR = 0.25  # rate" in changed and "N = 2**9   # size" in changed and "NAME = 'L'  # pattern" in changed
    with pytest.raises(KeyError):
        knobs.set_knobs(SOURCE, {"NO": 1})


def test_every_knob_of_the_shipped_file_has_a_comment_and_a_range() -> None:
    found = knobs.read(SHIPPED)
    assert len(found) > 15
    for knob in found:
        assert knob.comment, knob.name
        assert knob.value == 0 or of(knob).contains(of(knob).encode(knob.value)), knob.name
    assert sensible({knob.name: knob.value for knob in found}, {knob.name: knob for knob in found})


@settings(max_examples=40)
@given(st.data())
def test_drawn_values_are_of_their_kind(data: st.DataObject) -> None:
    knob = data.draw(st.sampled_from(knobs.read(SHIPPED)))
    found = of(knob)
    drawn = data.draw(
        st.floats(found.low, found.high)
        if found.kind in ("float", "log")
        else st.integers(int(found.low), int(found.high))
    )
    value = found.decode(drawn)
    assert type(value) is type(knob.value) or found.kind == "choice"
    if knobs.is_power_of_two(knob.value) and isinstance(knob.value, int) and knob.value >= 8:
        assert knobs.is_power_of_two(value)
    changed = {k.name: k.value for k in knobs.read(knobs.set_knobs(SHIPPED, {knob.name: value}))}
    assert changed[knob.name] == value


def test_a_smaller_batch_takes_the_rest_along() -> None:
    found = {knob.name: knob for knob in knobs.read(SHIPPED)}
    rows, length, total = (found[name].value for name in ("BATCH_SIZE", "SEQ_LEN", "TOTAL_BATCH"))
    assert isinstance(rows, int) and isinstance(length, int) and total == rows * length
    assert whole_batch({"TOTAL_BATCH": total // 2}, found) == {"TOTAL_BATCH": total // 2, "BATCH_SIZE": rows // 2}
    assert whole_batch({"BATCH_SIZE": rows * 2}, found) == {"BATCH_SIZE": rows * 2, "TOTAL_BATCH": total * 2}
    assert whole_batch({"WIDTH": 64}, found) == {"WIDTH": 64}
