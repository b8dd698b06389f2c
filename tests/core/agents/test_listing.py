"""The agents that the command `agents` lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.agents import listing, registry
from core.machine.project import Project


def test_every_agent_that_needs_no_file_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "http://127.0.0.1:1")  # nothing listens there
    found = listing.survey(Project(tmp_path, tmp_path / "logs"))
    listed = {one.agent.partition(":")[0] for one in found.agents}
    assert listed == {entry.kind for entry in registry.ENTRIES} - {"ollama", "script", "python", "command"}
    lines = list(listing.lines(found))
    assert lines[0] == "search: always there" and lines[1].startswith("ollama: ")
    assert len(lines) == len(set(lines)) == len(found.agents) + 1
