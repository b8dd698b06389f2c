"""Knobs: read from the block on top, written back with their comments."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.agents.search.ranges import misfit, range_for, with_followers
from core.change import edits, knobs
from core.target import TARGET

SHIPPED = (Path(__file__).resolve().parents[3] / "nanochat" / "train.py").read_text()
SOURCE = 'import os\nLR = 0.1  # rate\nN = 2**10   # size\nNAME = "SL"  # pattern\nON = True  # switch\n\ndef f():\n    X = 3\nY = 4\n'


def test_the_block_on_top_is_read_with_its_comments() -> None:
    found = {knob.name: (knob.value, knob.comment) for knob in knobs.read(SOURCE)}
    assert found == {"LR": (0.1, "rate"), "N": (1024, "size"), "NAME": ("SL", "pattern"), "ON": (True, "switch")}


def test_values_are_set_and_comments_stay() -> None:
    changed = knobs.set_knobs(SOURCE, {"LR": 0.25, "N": 512, "NAME": "L"})
    assert "LR = 0.25  # rate" in changed and "N = 2**9   # size" in changed and 'NAME = "L"  # pattern' in changed
    with pytest.raises(KeyError):
        knobs.set_knobs(SOURCE, {"NO": 1})


@pytest.mark.parametrize("odd", ["\f", "\v", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "é", "\t"])
def test_characters_that_only_unicode_calls_line_breaks_shift_nothing(odd: str) -> None:
    source = f"# a{odd}b\nTEXT = 'x{odd if odd.isprintable() else ''}'  # {odd} words\nLR = 0.1  # rate{odd}\nN = 3\n"
    found = {knob.name: knob for knob in knobs.read(source)}
    assert (found["LR"].value, found["LR"].written, found["N"].line) == (0.1, "0.1", 3)
    changed = knobs.set_knobs(source, {"LR": 0.2, "N": 4})
    assert changed == source.replace("0.1", "0.2").replace("N = 3", "N = 4")
    assert edits.added_removed(source, changed) == (2, 2)


@pytest.mark.parametrize(
    "line",
    ["LR = (0.1)  # rate", "LR=0.1", "LR  =  0.1;N = 3", "N = 3; LR = 0.1  # both", "LR = 0.1  # LR = 0.1", "LR = \\\n    0.1",
     "\fLR = 0.1", "LR = 0.1\r", "S = '#'; LR = 0.1", "ÄÖ = 'ü'; LR = 0.1"],
)  # fmt: skip
def test_a_knob_that_is_read_is_also_set(line: str) -> None:
    source = f"import os\n{line}\n"
    read = {knob.name: knob.value for knob in knobs.read(source)}
    if "LR" in read:
        now = {knob.name: knob.value for knob in knobs.read(knobs.set_knobs(source, {"LR": 0.5}))}
        assert now == read | {"LR": 0.5}
    else:
        assert "\\" in line, "only a knob that goes over two lines is none"


def test_a_number_that_python_cannot_read_back_is_refused() -> None:
    with pytest.raises(ValueError, match="inf"):
        knobs.write(float("inf"), "1.0")


@pytest.mark.parametrize(
    ("line", "choices"),
    [
        ('ACT = "relu"  # the activation', ("relu",)),
        ('ACT = "relu"  # one of: relu, gelu, silu', ("relu", "gelu", "silu")),
        ('ACT = "relu"  # one of "gelu" or "relu"; the square is taken', ("gelu", "relu")),
        ('ACT = "relu"  # one of relu|gelu', ("relu", "gelu")),
        ('ACT = "relu"  # the step of one of the layers', ("relu",)),
        ('ACT = "relu"  # one of: relu, gelu, applied to the table', ("relu",)),
        ('ACT = "relu"  # one of relu or gelu - the activation', ("relu",)),
        ('ACT = "relu"  # one of: relu, gelu, leaky-relu.', ("relu", "gelu", "leaky-relu")),
        ('ACT = "pre norm"  # one of "pre norm" and "post norm"', ("pre norm", "post norm")),
        ('PATH = "SL"  # where it is', ("SL",)),
        ('WINDOW_PATTERN = "LLS"  # by layer', ("LLS", *TARGET.words["WINDOW_PATTERN"])),
        ('WINDOW_PATTERN = "SL"  # by layer', TARGET.words["WINDOW_PATTERN"]),
    ],
)
def test_a_string_is_offered_its_own_choices_only(line: str, choices: tuple[str, ...]) -> None:
    assert range_for(knobs.read(line + "\n")[0]).choices == choices


@settings(max_examples=300)
@given(
    st.integers()
    | st.floats()
    | st.sampled_from([0, -1, 1, 6, 7, 8, -8, 2**40, 2**80, 5e-324, -5.0, 1e308, -0.0, 0.9]),
    st.sampled_from(["LR", "WARM_UP", "ADAM_BETA1", "MUON_STEPS", "FLOOR"]),
    st.sampled_from(["", "0 = off", "a fraction", "0 = off; on, it uses 0", "uses 15"]),
)
def test_whatever_number_stands_in_train_py_has_a_range_around_it(value: float, name: str, comment: str) -> None:
    for knob in knobs.read(f"{name} = {value!r}  # {comment}\n"):  # nan and inf are no literals
        found = range_for(knob)
        assert found.low <= found.high
        assert knob.value == 0 or found.contains(found.encode(knob.value))
        for moved in (found.at(0.0), found.at(1.0), found.step(knob.value, True), found.step(knob.value, False)):
            assert (
                moved is None or knobs.read(knobs.set_knobs(f"{name} = {value!r}\n", {name: moved}))[0].value == moved
            )


def test_every_knob_of_the_shipped_file_has_a_comment_and_a_range() -> None:
    found = knobs.read(SHIPPED)
    assert len(found) > 15
    for knob in found:
        assert knob.comment, knob.name
        assert knob.value == 0 or range_for(knob).contains(range_for(knob).encode(knob.value)), knob.name
    assert not misfit({knob.name: knob.value for knob in found}, {knob.name: knob for knob in found})


@settings(max_examples=40)
@given(st.data())
def test_drawn_values_are_of_their_kind(data: st.DataObject) -> None:
    knob = data.draw(st.sampled_from(knobs.read(SHIPPED)))
    found = range_for(knob)
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
    assert with_followers({"TOTAL_BATCH": total // 2}, found) == {"TOTAL_BATCH": total // 2, "BATCH_SIZE": rows // 2}
    assert with_followers({"BATCH_SIZE": rows * 2}, found) == {"BATCH_SIZE": rows * 2, "TOTAL_BATCH": total * 2}
    assert with_followers({"WIDTH": 256}, found) == {"WIDTH": 256}
    assert with_followers({"WIDTH": 64}, found) == {"WIDTH": 64, "HEAD_DIM": 64}, "no head is wider than the model"


@pytest.mark.parametrize(
    ("written", "value", "found"), [('"L"', "SL", '"SL"'), ("'L'", "SL", "'SL'"), ('"L"', 'a"b', "'a\"b'")]
)
def test_words_keep_their_quotes(written: str, value: str, found: str) -> None:
    changed = knobs.set_knobs(f"PATTERN = {written}\n", {"PATTERN": value})
    assert changed == f"PATTERN = {found}\n" and knobs.read(changed)[0].value == value
