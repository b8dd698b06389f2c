"""Moves of constants: each that is offered gives a sound train.py."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.agents.llm import formats
from core.agents.llm.knob_moves import moves
from core.change import knobs
from core.change.edits import EditError
from tests.product import ROOT, TRAIN

SOURCE = (ROOT / "nanochat" / "train.py").read_text()


@settings(max_examples=40)
@given(st.sampled_from([knob.name for knob in knobs.read(SOURCE)]), st.data())
def test_every_move_that_is_offered_gives_a_sound_train_py(name: str, data: st.DataObject) -> None:
    knob = next(k for k in knobs.read(SOURCE) if k.name == name)
    move = data.draw(st.sampled_from(moves(knob)))
    found = formats.parse("knob", json.dumps({"hypothesis": "", "knob": name, "move": move}), SOURCE)
    assert found.source is not None
    moved = next(k for k in knobs.read(found.source) if k.name == name)
    assert moved.value != knob.value and type(moved.value) is type(knob.value)
    large = isinstance(knob.value, int) and knob.value > 2
    assert not (large and knobs.is_power_of_two(knob.value)) or knobs.is_power_of_two(moved.value)


@pytest.mark.parametrize(
    ("knob", "move"), [("LR", "1e15"), ("LR", "-1"), ("LR", "nan"), ("NOPE", "2"), ("BATCH", "inf")]
)
def test_an_impossible_move_is_refused_with_what_can_be_done(knob: str, move: str) -> None:
    with pytest.raises(EditError, match=r"by one of|There are"):
        formats.parse("knob", json.dumps({"hypothesis": "", "knob": knob, "move": move}), TRAIN)
