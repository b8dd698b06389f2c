"""All registries have one shape: rows with a name, a line of help and a factory."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from core.agents import registry as agents
from core.execution import registry as executors
from core.track import registry as trackers
from nanochat.contract import sources
from nanochat.contract.registry import Entry, find, names, table
from tui.panes import registry as panes

REGISTRIES = {
    "agents": agents.ENTRIES,
    "executors": executors.ENTRIES,
    "datasets": sources.ENTRIES,
    "panes": panes.ENTRIES,
    "trackers": trackers.ENTRIES,
}
ROWS = (Entry("plain", "needs nothing", 1), Entry("file:PATH", "needs a path", 2))


@pytest.mark.parametrize("entries", REGISTRIES.values(), ids=REGISTRIES)
def test_every_row_has_a_name_of_its_own_a_line_of_help_and_a_factory(entries: Sequence[Entry[object]]) -> None:
    assert len({entry.kind for entry in entries}) == len(entries) > 1
    for entry in entries:
        assert entry.kind and entry.help and "\n" not in entry.help and callable(entry.factory)


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("plain", (1, "")), ("file:a.txt", (2, "a.txt")), ("file:a:b", (2, "a:b")), ("file:", None), ("file", None),
        ("plain:", None), ("plain:x", None), ("Plain", None), ("", None), (":x", None),
    ],
)  # fmt: skip
def test_a_name_with_an_argument_needs_one_and_another_takes_none(spec: str, found: tuple[int, str] | None) -> None:
    assert find(spec, ROWS) == found


def test_the_rows_are_listed_for_people() -> None:
    assert table(ROWS) == "\n  plain      needs nothing\n  file:PATH  needs a path"
    assert names(ROWS) == "plain or file:PATH" and names(ROWS[:1]) == "plain"
    assert names(sources.ENTRIES) == "python, tinystories, climbmix or text:PATH"
