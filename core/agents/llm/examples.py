"""Worked examples of each answer format. Pure.

They are about another program, so that none of them can be copied as a first proposal: its constants are not in train.py.
"""

from __future__ import annotations

from core.agents.llm.formats import Tier

SOURCE = """\
PATCH = 16  # pixels of a side
FLIP = False  # mirrored images

def pool(x):
    x = x.mean(dim=1)
    return x * 2
"""
ANSWERS: dict[Tier, tuple[str, ...]] = {
    "knob": (
        '{"hypothesis": "Fine patches suit small images.", "knob": "PATCH", "move": "0.5"}',
        '{"hypothesis": "Mirrored images are free data.", "knob": "FLIP", "move": "True"}',
    ),
    "edits": (
        '{"hypothesis": "Fine patches suit small images.", "edits": [{"search": "PATCH = 16", "replace": "PATCH = 8"}]}',
        '{"hypothesis": "A maximum keeps edges.", "edits": [{"search": "    x = x.mean(dim=1)", "replace": "    x = x.amax(dim=1)"}]}',
    ),
    "blocks": (
        "Fine patches suit small images.\n<<<<<<< SEARCH\nPATCH = 16  # pixels of a side\n=======\nPATCH = 8  # pixels of a side\n"
        ">>>>>>> REPLACE",
        "A maximum keeps edges.\n<<<<<<< SEARCH\n    x = x.mean(dim=1)\n=======\n    x = x.amax(dim=1)\n>>>>>>> REPLACE",
    ),
}


def examples(tier: Tier) -> str:
    """Return the examples of an answer format."""
    return "\n".join(("Answers in this form, about another program:", *ANSWERS[tier]))
