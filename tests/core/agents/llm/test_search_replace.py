"""SEARCH/REPLACE blocks: which of them are one answer, and what stands before them."""

from __future__ import annotations

import pytest

from core.change import edits
from tests.core.agents.llm.written import LOWER, RAISE, parse
from tests.product import TRAIN


@pytest.mark.parametrize(
    "between",
    [
        "", "\n\n", "```\n```\n", "```\n\n```python\n", "Edit 2:\n", "### Edit 2: lower DECAY to 0.9\n", "2. Lower DECAY.\n", "**Change #2**\n",
        "nanochat/train.py\n", "```\n`train.py`:\n```\n", "---\n", "</edit>\n<edit>\n", "</edit1><edit2>\n", '</file><file path="train.py">\n',
        "\nStep 2 of 2 (the schedule):\n", "And:\n", "Second edit:\n", "~~~\n~~~py\n", "```\n</answer>\n", "In nanochat/train.py:\n",
    ],
)  # fmt: skip
def test_blocks_that_belong_together_are_one_answer(between: str) -> None:
    found = parse("blocks", f"Why.\n{RAISE}{between}{LOWER}```\nThat is all.")
    assert found is not None and found.hypothesis == "Why." and len(found.edits) == 2


def test_what_stands_before_the_blocks_is_the_hypothesis() -> None:
    found = parse(
        "blocks",
        "Hypothesis: a larger step.\n```\n<<<<<<< SEARCH\nLR = 0.01  # learning rate\n=======\nLR = 0.02\n>>>>>>> REPLACE\n```",
    )
    assert found is not None and found.hypothesis == "a larger step."
    assert "LR = 0.02\n" in edits.apply(TRAIN, found.edits)


@pytest.mark.parametrize("cut", [*range(1, len(LOWER) - 1, 9), 11, 12])
def test_blocks_that_were_cut_off_are_never_half_used(cut: int) -> None:
    assert parse("blocks", RAISE + LOWER[:-1][:-cut]) is None or len(LOWER) - 1 - cut < 5
