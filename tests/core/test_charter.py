"""program.md: limits that are checked, topics that are weighed, sentences about both."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.charter import TOPICS, Charter, CharterError, read


def test_limits_come_from_the_front_matter() -> None:
    found = read("---\nmax_params: 60000000\nmax_memory_gb: 20\noff_limits: [LR, GPT.forward]\n---\n# Aim\nLow.\n")
    assert (found.max_params, found.max_memory_gb, found.off_limits) == (60_000_000, 20.0, ("LR", "GPT.forward"))
    assert any("max_params" in words for words in found.understood)


def test_prose_gives_and_takes_weight() -> None:
    found = read(
        "# Aim\nLow val_bpb.\n\nFocus on the schedule.\nAvoid changes of the optimizer.\nThe activation may change.\n"
    )
    assert found.weights["schedule"] > found.weights["activation"] > found.weights["heads"] == 1.0
    assert found.weights["optimizer"] == 0.0
    assert "directions: activation, schedule" in found.understood and "avoid: optimizer" in found.understood


def test_a_section_called_avoid_counts_for_its_lines() -> None:
    found = read("# Worth trying\n- attention\n\n# Avoid\n- dropout and weight decay\n")
    assert found.weights["attention"] > 1 and found.weights["regularisation"] == 0.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("  \n\n", "empty"),
        ("---\nmax_params: 3\n", "never closes"),
        ("---\nmax_params: [1\n---\n", "front matter"),
        ("---\n- a\n---\n", "lines like"),
        ("---\nmax_params: many\n---\nx", "max_params"),
        ("---\nmax_params: -5\n---\nx", "max_params"),
        ("---\nmax_memory_gb: .inf\n---\nx", "max_memory_gb"),
        ("---\noff_limits: LR\n---\nx", "off_limits"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(text: str, words: str) -> None:
    with pytest.raises(CharterError, match=words):
        read(text)


def test_unknown_keys_are_reported_not_refused() -> None:
    assert "max_speed" in read("---\nmax_speed: 3\n---\nx").ignored[0]


@given(st.text())
def test_arbitrary_text_never_crashes(text: str) -> None:
    try:
        found = read(text)
    except CharterError as error:
        assert str(error)
    else:
        assert isinstance(found, Charter) and set(found.weights) == set(TOPICS)


def test_the_shipped_charter_is_understood() -> None:
    found = read((Path(__file__).resolve().parents[2] / "program.md").read_text())
    assert found.understood and not found.ignored and found.weights["schedule"] > 1


@pytest.mark.parametrize(
    ("text", "params", "memory"),
    [
        ("Avoid more than 60M parameters.", 60_000_000, None),
        ("Use at most 1,500,000 params and no more than 8 GB of memory.", 1_500_000, 8.0),
        ("Stay under 1.5 billion parameters, below 20GB VRAM.", 1_500_000_000, 20.0),
        ("Parameters are cheap. Memory too.", None, None),
        ("---\nmax_params: 5\n---\nAt most 60M parameters.", 5, None),
        ("At most 0 parameters.", None, None),
    ],
)
def test_limits_in_a_sentence_are_checked_too(text: str, params: int | None, memory: float | None) -> None:
    found = read(text)
    assert (found.max_params, found.max_memory_gb) == (params, memory)
