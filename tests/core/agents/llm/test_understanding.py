"""program.md in a model's own words."""

from __future__ import annotations

import json

import pytest

from core.agents.llm.understanding import restated_lines


@pytest.mark.parametrize(
    ("limits", "charter", "words"),
    [
        ({"max_params": 60_000_000, "off_limits": ["WIDTH"]}, "Low.", "max_params: 60000000; off_limits: [WIDTH]"),
        ({"max_memory_gb": 7.5}, "Low.", "max_memory_gb: 7.5"),
        ({"max_params": 5, "off_limits": ["WIDTH"]}, "---\nmax_params: 9\noff_limits: WIDTH\n---\nLow.", ""),
        ({"max_params": True, "max_memory_gb": -1, "off_limits": ["rm -rf", 3]}, "Low.", ""),
        ("no more", "Low.", ""), ([], "---\nbroken", ""),
    ],
)  # fmt: skip
def test_limits_that_a_model_found_are_proposed_and_not_checked(limits: object, charter: str, words: str) -> None:
    found = restated_lines(json.dumps({"goals": ["low"], "directions": [], "avoid": [], "limits": limits}), charter)
    assert found[0] == "goals: low" and len(found) == 1 + bool(words)
    assert not words or (found[1].startswith(f"proposed limits, not checked: {words}") and "front matter" in found[1])


def test_field_names_and_stammer_of_small_models_are_left_out() -> None:
    link = "read https://github.com/karpathy/autoresearch/blob/master/program.md#what-you-can-do-and-what-not first"
    answer = {
        "goals": ["Goals:", "low val_bpb", "low val_bpb", "10000000000000 tokens"], "avoid": ["limits", "max_params."],
        "directions": ["max_" + "sparse_" * 20, "尽量降低验证集每字节比特数" * 2, link],
    }  # fmt: skip
    assert restated_lines(json.dumps(answer)) == (
        "goals: low val_bpb; 10000000000000 tokens", f"directions: {'尽量降低验证集每字节比特数' * 2}; {link}",
    )  # fmt: skip
