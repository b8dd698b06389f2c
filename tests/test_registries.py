"""All registries have one shape: rows with a name, a line of help and a factory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from typer.models import OptionInfo

from core.agents import registry as agents
from core.cli_options import AgentName
from core.execution import registry as executors
from core.run_command import run
from core.track import registry as trackers
from nanochat.contract import sources
from nanochat.contract.registry import Entry, find, names, table
from tui.panes import registry as panes

ROOT = Path(__file__).resolve().parent.parent
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


def option_help(annotation: object) -> str:
    """The help of an option of the command line."""
    return next(str(one.help) for one in get_args(annotation) if isinstance(one, OptionInfo))


def table_of(document: str, heading: str) -> set[str]:
    """The names in the first column of the first table below a heading."""
    text = (ROOT / "docs" / document).read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    rows = re.search(r"\| --- .*\n((?:\|.*\n)+)", text)
    assert rows is not None
    cells = [row.split("|")[1] for row in rows[1].splitlines()]
    return {name.replace('"', "") for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_the_help_of_the_options_names_every_row() -> None:
    agents_listed = option_help(AgentName).removeprefix("Who proposes: ").partition(", or several")[0]
    assert set(agents_listed.split(", ")) == {entry.name for entry in agents.ENTRIES}
    executor = option_help(get_type_hints(run, include_extras=True)["executor"])
    without_notes = re.sub(r" \([^)]*\)", "", executor).removeprefix("Where trainings run: ").rstrip(".")
    assert set(re.split(r",? or |, ", without_notes)) == {entry.name for entry in executors.ENTRIES}


@pytest.mark.parametrize(
    ("document", "heading", "entries"),
    [
        ("reference.md", "Agents", agents.ENTRIES),
        ("reference.md", "Executors", executors.ENTRIES),
        ("guide.md", "Datasets", sources.ENTRIES),
    ],
)
def test_the_documents_have_a_table_of_all_rows(document: str, heading: str, entries: Sequence[Entry[object]]) -> None:
    assert table_of(document, heading) == {entry.name for entry in entries}


def test_the_rows_are_listed_for_people() -> None:
    assert table(ROWS) == "\n  plain      needs nothing\n  file:PATH  needs a path"
    assert names(ROWS) == "plain or file:PATH" and names(ROWS[:1]) == "plain"
    assert names(sources.ENTRIES) == "python, tinystories, climbmix or text:PATH"
