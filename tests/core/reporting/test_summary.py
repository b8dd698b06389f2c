"""The summary of a run: short enough to be read at once, and complete: time, cost, files, commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from core.judging import schedule
from core.machine.project import Project
from core.model import Limits
from core.record import events as ev
from core.record import journal
from core.record.fold import apply, fold
from core.record.live import Picture
from core.record.state import State
from core.reporting import log_lines, run_table, summary
from core.reporting.status import RunStatus, status
from core.run.reading import print_status
from tests.core.record.test_recorded_nights import NIGHTS, RECORDED
from tests.core.reporting.reports import state_of
from tests.derived_files import publish

LINES = 22  # what fits into a terminal of 24 rows, with the command above it


def facts(state: State, files: tuple[str, str] = ("", "")) -> RunStatus:
    return status(state, schedule.noise(state), None, Picture(), files=files)


def shown(found: RunStatus, width: int = 200, *, brief: bool = True) -> str:
    return summary.text(summary.summary(found, width, brief=brief))


@pytest.mark.parametrize("night", NIGHTS)
def test_the_status_of_an_ended_run_fits_on_a_screen(night: str) -> None:
    state = fold(journal.read(RECORDED / night / journal.NAME), State(name=night))
    found = facts(state, (f"logs/{night}/report.html", f"logs/{night}/report.png"))
    assert len(shown(found, 1000).splitlines()) <= LINES


def test_of_many_kept_changes_the_largest_are_listed() -> None:
    found = facts(state_of(130, keep_every=10))
    assert found.kept == 13
    changed = replace(found, kept_changes=tuple(
        replace(one, change=-0.1 if one.number in (40, 70) else -0.001) for one in found.kept_changes
    ))  # fmt: skip
    text = shown(changed)
    assert "#40 " in text and "#70 " in text and "and 9 smaller ones; `make notebook ARGS=night` has all" in text
    assert len(text.splitlines()) <= LINES
    assert "smaller" not in shown(changed, brief=False) and "#120 " in shown(changed, brief=False)


def test_time_cost_files_and_commands_are_told() -> None:
    found = replace(
        facts(state_of(20, keep_every=10), ("logs/night/report.html", "logs/night/report.png")),
        worked_s=5 * 3600.0,
        proposing_s=720.0,
        tokens=812_345,
    )
    text, end = shown(found), "\n".join(summary.at_end(found, "logs/night", "a branch"))
    words = "5 h 00 min of work; the proposals took 12 min and 812k tokens"
    assert f"time        {words}\n" in text and f"Time: {words}." in end
    assert "report      logs/night/report.html, and logs/night/report.png to share\n" in text
    export = "`make export ARGS='--run night'`"
    assert f"{export} keeps its model" in text and f"Keep the best model: {export}" in end
    assert "tokens" not in shown(replace(found, tokens=0)) and "report.html" not in shown(replace(found, report=""))
    assert "make export" not in shown(replace(found, rehearsal=True)), "there is no model"


def test_the_command_names_the_files_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs/found"
    shutil.copytree(RECORDED / "found", folder)
    (folder / "report.html").touch()
    monkeypatch.chdir(tmp_path)
    print_status(Project(tmp_path, tmp_path / "logs"), "found", as_json=False, line=False)
    told = capsys.readouterr().out
    assert "report      logs/found/report.html\n" in told and len(told.splitlines()) <= LINES


def test_the_lessons_of_a_run_are_shown() -> None:
    state = state_of(20, keep_every=10)
    apply(state, ev.Lessons(lines=("Wider models lose.", "Schedules matter."), agent="ollama:x", judged=20))
    text = shown(facts(state), brief=False)
    assert (
        "Wider models lose." in text
        and "Schedules matter." in text
        and "Wider models lose." not in shown(facts(state_of(20)))
    )


def test_one_experiment_is_no_plural() -> None:
    state = state_of(1)
    assert summary.at_end(facts(state), "logs/night", "a branch")[0] == "Run night: 1 experiment, 0 kept."
    started = ev.Started(pid=1, agent="search", approval="auto", slots=1, limits=Limits(max_experiments=1))
    line = log_lines.line(started, state) or ""
    assert ", 1 experiment so far" in line and "ends at 1 experiment" in line and "experiments" not in line


def test_in_every_figure_a_minus_is_better(tmp_path: Path) -> None:
    state = state_of(20, keep_every=10)
    found = facts(state)
    assert found.gain is not None and found.gain.change == pytest.approx(-0.008)
    (agent,) = msgspec.to_builtins(found)["agents"]
    assert agent["change"] == pytest.approx(-0.008) and "gain" not in agent
    publish(tmp_path, state, 0.001)
    assert "In all changes a minus is better." in (tmp_path / "notebook.md").read_text(encoding="utf-8")
    assert "(- is better)" in run_table.table([found])[0]
