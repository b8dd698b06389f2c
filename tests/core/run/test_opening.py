"""What is on disk when a run is opened, and how a run is called."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.machine.project import Project, UsageError
from core.record import backlog, journal
from core.record.fold import fold
from core.record.run_lock import Lock, RunBusy
from core.record.state import State
from core.reporting import log_lines, results, run_table, summary
from core.run.opening import open_run
from core.run.options import Options
from core.run.plan import make_plan
from core.run.reading import read_status
from nanochat.data.prepare import prepare
from tests.core.run.runs import SHIPPED, START, write_run


def test_a_folder_of_the_user_is_not_taken_for_a_run(tmp_path: Path, corpus: Path) -> None:
    """Its own texts lie in `data`, where a run would put its copies."""
    project = Project(tmp_path, tmp_path / "logs")
    prepare(f"text:{corpus}", 320)
    own = project.logs / "mine" / "data" / "poem.txt"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    chosen = make_plan(project, Options(name="mine", dataset=f"text:{corpus}", profile="tiny"))
    (tmp_path / "nanochat").mkdir()
    (tmp_path / "nanochat" / "train.py").write_text(SHIPPED)
    (tmp_path / "program.md").write_text("Low.")
    with pytest.raises(UsageError, match=r"logs/mine holds data, which no run wrote. Nothing was changed."):
        open_run(project, chosen, Options(), lambda event, state: None)
    assert own.read_text() == "mine" and [path.name for path in (project.logs / "mine").iterdir()] == ["data"]


def test_a_run_that_another_command_is_starting_is_busy(tmp_path: Path, corpus: Path) -> None:
    """It has made its copies and has no journal yet."""
    project = Project(tmp_path, tmp_path / "logs")
    prepare(f"text:{corpus}", 320)
    chosen = make_plan(project, Options(name="mine", dataset=f"text:{corpus}", profile="tiny"))
    (tmp_path / "nanochat").mkdir()
    (tmp_path / "nanochat" / "train.py").write_text(SHIPPED)
    (tmp_path / "program.md").write_text("Low.")
    (project.logs / "mine" / "harness.new").mkdir(parents=True)
    other = Lock(project.logs / "mine")
    with pytest.raises(RunBusy, match="is being started by another command"):
        open_run(project, chosen, Options(), lambda event, state: None)
    other.release()
    with pytest.raises(UsageError, match=r"holds harness\.new, which no run wrote"):
        open_run(project, chosen, Options(), lambda event, state: None)


def started(root: Path, corpus: Path) -> Callable[[], Project]:
    """A source tree with the shipped train.py. What is returned starts its run `mine` and ends it at once."""
    project = Project(root, root / "logs")
    prepare(f"text:{corpus}", 320)
    (root / "nanochat").mkdir()
    (root / "nanochat" / "train.py").write_text(SHIPPED)
    (root / "program.md").write_text("Low.")
    options = Options(name="mine", dataset=f"text:{corpus}", profile="tiny")

    def start() -> Project:
        active, lock = open_run(project, make_plan(project, options), options, lambda event, state: None)
        active.journal.close()
        lock.release()
        return project

    return start


def test_a_backlog_that_was_deleted_is_not_made_again(tmp_path: Path, corpus: Path) -> None:
    start = started(tmp_path, corpus)
    for exists in (True, False):
        path = start().logs / "mine" / backlog.NAME
        assert path.exists() is exists
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("name", ["train.py", results.BEST_DIFF])
def test_each_start_writes_the_best_again(tmp_path: Path, corpus: Path, name: str) -> None:
    """A kill right after a keep leaves those of the best before."""
    start, texts = started(tmp_path, corpus), []
    for _ in range(2):
        path = start().logs / "mine" / name
        texts.append(path.read_text())
        path.write_text("of the best before")
    assert texts[0] == texts[1]


@pytest.mark.parametrize("how", ["renamed", "copied"])
def test_a_run_is_called_by_its_folder(tmp_path: Path, how: str) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    before = write_run(project, "before", START)
    folder = project.run("after")
    shutil.copytree(before, folder) if how == "copied" else before.rename(folder)
    found = read_status(folder)
    line = run_table.table([found])[1]
    assert line.startswith("after ") and line.endswith("(begun as before)")
    assert summary.text(summary.summary(found)).startswith(
        "after (begun as before): loop ended unexpectedly; `make run ARGS='--name after'`"
    )
    state = fold(journal.read(folder / journal.NAME), State(name="after"))
    assert "Run after:" in summary.at_end(found, "logs/after", "a branch")[0]
    assert (log_lines.line(START, state) or "").split("  ")[1].startswith("run after (begun as before) ·")
    if how == "copied":
        assert "begun as" not in summary.text(summary.summary(read_status(before)))
