"""The difference between two texts as edits: they apply, are small, and give the other text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.change import edits
from core.change.as_edits import as_edits
from core.model import Edit
from tests.product import ROOT

SHIPPED = (ROOT / "nanochat" / "train.py").read_text()
LINES = st.lists(st.sampled_from(["a = 1", "b = 2", "b = 22", "    return x", "", "\tc = 3"]), max_size=9)


def test_a_changed_constant_is_one_line() -> None:
    new = SHIPPED.replace("WARM_DOWN = 0.5 ", "WARM_DOWN = 0.9 ")
    (edit,) = as_edits(SHIPPED, new)
    assert "\n" not in edit.search and edit.replace == edit.search.replace("0.5", "0.9")


def test_lines_that_occur_twice_are_distinguished() -> None:
    old = "def f():\n    return 1\n\ndef g():\n    return 1\n"
    made = as_edits(old, "def f():\n    return 1\n\ndef g():\n    return 2\n")
    assert made == (Edit(search="def g():\n    return 1", replace="def g():\n    return 2"),)


def test_far_apart_changes_are_separate_edits() -> None:
    new = SHIPPED.replace("WARM_DOWN = 0.5 ", "WARM_DOWN = 0.9 ").replace("DEPTH = 2 ", "DEPTH = 3 ")
    assert len(as_edits(SHIPPED, new)) == 2


@given(LINES, LINES)
def test_the_edits_give_the_other_text(before: list[str], after: list[str]) -> None:
    old, new = "\n".join([*before, "# the end\n"]), "\n".join([*after, "# the end\n"])
    made = as_edits(old, new)
    assert bool(made) == (old != new)
    assert not made or edits.apply(old, made) == new
