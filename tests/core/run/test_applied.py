"""Whether the best train.py of a run is in the checkout already, and what its status then says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.machine.project import Project
from core.run import reading
from core.run.applied import is_applied
from tests.core.reporting.reports import events
from tests.core.run.runs import write_run


@pytest.fixture
def project(tmp_path: Path) -> Project:
    found = Project(tmp_path, tmp_path / "logs")
    found.train.parent.mkdir()
    found.train.write_text("LR = 1\n")
    _, *others = events(6, keep_every=3)
    folder = write_run(found, "night", *others)  # type: ignore[arg-type]
    (folder / "train.py").write_text("LR = 2\n")
    return found


def test_the_status_says_whether_the_best_is_applied(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    def shown(*, as_json: bool = False) -> str:
        reading.print_status(project, "night", as_json=as_json, line=False)
        return capsys.readouterr().out

    assert "`make apply ARGS=night` commits the best" in shown() and not json.loads(shown(as_json=True))["applied"]
    project.train.write_bytes("\ufeffLR = 2\r\n".encode())
    assert "your train.py is the best one already" in shown() and "apply ARGS" not in shown()
    assert json.loads(shown(as_json=True))["applied"]


def test_what_cannot_be_read_is_not_applied(project: Project) -> None:
    project.train.unlink()
    assert not is_applied(project.root, project.logs / "night")
    assert not is_applied(project.root, project.logs / "another")
