"""The agent script: in order, from where the record says it is, and clear about a bad line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.agents.base import Context, Exhausted
from core.agents.script import Script
from core.model import Notes

LINES = [{"hypothesis": "one", "edits": [{"search": "a", "replace": "b"}]}, {"hypothesis": "two", "source": "x = 1"}]


def context(done: int) -> Context:
    return Context(charter="x", source="s", parent="p", number=1, seed=1, sigma=0.01, proposed={"script:ideas": done})


async def test_entries_come_in_order_and_then_it_is_exhausted(tmp_path: Path) -> None:
    path = tmp_path / "ideas"
    path.write_text("# a comment\n\n" + "\n".join(json.dumps(line) for line in LINES))
    agent = Script(path)
    assert (await agent.propose(context(0))).hypothesis == "one"
    second = await agent.propose(context(1))
    assert second.source == "x = 1" and second.notes == Notes(line=4)
    with pytest.raises(Exhausted):
        await agent.propose(context(2))


@pytest.mark.parametrize(
    "line", ["{", '{"edits": []}', '{"hypothesis": "h"}', '{"hypothesis": "h", "edits": [{"search": 1}]}', "[]"]
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "ideas"
    path.write_text(json.dumps(LINES[0]) + "\n" + line + "\n")
    with pytest.raises(ValueError, match="Line 2"):
        Script(path)
