"""Constants of train.py are merged by name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.change import knobs
from core.change.merging import aligned

NAMES = ("DEPTH", "WIDTH", "LR", "BATCH")
REST = "\n\ndef train(run):\n    return WIDTH\n"


def source(*values: str, rest: str = REST) -> str:
    lines = [f"{name} = {value}  # about {name}" for name, value in zip(NAMES, values, strict=True)]
    return "\n".join(lines) + rest


def values(text: str) -> dict[str, object]:
    return {knob.name: knob.value for knob in knobs.read(text)}


def test_changes_of_neighbouring_constants_are_both_taken() -> None:
    base, ours, theirs = source("2", "128", "0.1", "8"), source("3", "128", "0.1", "8"), source("2", "192", "0.1", "8")
    assert aligned(base, ours, theirs) == (source("3", "192", "0.1", "8"),) * 3


def test_values_stay_as_they_were_written() -> None:
    base, ours, theirs = (
        source("2", "128", "0.1", "8"),
        source("2", "128", "1e-3", "8"),
        source("2", "128", "0.1", "2**15"),
    )
    assert aligned(base, ours, theirs)[0] == source("2", "128", "1e-3", "2**15")


def test_two_values_of_one_constant_stay_a_conflict() -> None:
    base, ours, theirs = source("2", "128", "0.1", "8"), source("3", "128", "0.2", "8"), source("4", "128", "0.1", "8")
    assert aligned(base, ours, theirs) == (
        source("2", "128", "0.2", "8"), source("3", "128", "0.2", "8"), source("4", "128", "0.2", "8")
    )  # fmt: skip


def test_code_is_left_to_the_merge_of_lines() -> None:
    base, theirs = source("2", "128", "0.1", "8"), source("3", "128", "0.1", "8")
    ours = source("2", "128", "0.1", "8", rest=REST.replace("WIDTH", "WIDTH + 1"))
    assert aligned(base, ours, theirs) == (theirs, theirs.replace("return WIDTH", "return WIDTH + 1"), theirs)


def test_a_constant_that_one_side_removed_stays_as_it_is() -> None:
    base, ours = source("2", "128", "0.1", "8"), source("2", "192", "0.1", "8")
    theirs = base.replace("WIDTH = 128  # about WIDTH\n", "")
    assert aligned(base, ours, theirs) == (base, ours, theirs)


def test_texts_that_cannot_be_parsed_are_returned_as_they_are() -> None:
    base, theirs = source("2", "128", "0.1", "8"), source("3", "128", "0.1", "8")
    broken = base.replace("def train(run):", "<<<<<<< the best")
    assert aligned(base, broken, theirs) == (base, broken, theirs)


NUMBERS = st.tuples(*(st.sampled_from(["1", "2", "3", "0.5", "2**4"]) for _ in NAMES))


@given(NUMBERS, NUMBERS, NUMBERS)
def test_only_constants_that_both_sides_changed_differ(
    before: tuple[str, ...], one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    texts = aligned(source(*before), source(*one), source(*other))
    merged = [values(text) for text in texts]
    was, ours, theirs = (values(source(*each)) for each in (before, one, other))
    for name in NAMES:
        if len({was[name], ours[name], theirs[name]}) == 3:
            assert [each[name] for each in merged] == [was[name], ours[name], theirs[name]]
        else:
            wanted = theirs[name] if ours[name] == was[name] else ours[name]
            assert [each[name] for each in merged] == [wanted] * 3
