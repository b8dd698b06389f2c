"""Which run is meant where none is named: one rule for every command, by what the journals say."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from core import cli
from core.git.repository import Repository
from core.machine.project import Project, UsageError
from core.record import events as ev
from core.record import journal
from core.record.run_lock import Lock
from core.reporting import results
from core.run import commands
from core.run.choose_run import choose_run
from core.run.options import Options
from core.run.plan import make_plan
from tests.core.run.runs import DONE, START, TOLD, write_run


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    (tmp_path / "nanochat").mkdir()
    for name in ("train.py", "run.py"):
        (tmp_path / "nanochat" / name).write_text("")
    monkeypatch.chdir(tmp_path)
    yield Project(tmp_path, tmp_path / "logs")


def started(project: Project, name: str, *events: ev.AnyEvent) -> Path:
    """A run as it is begun now, by a clock that may be wrong."""
    return write_run(project, name, msgspec.structs.replace(START, turn=project.next_turn()), *events)


def touch(*folders: Path) -> None:
    """Times of files that say the opposite."""
    for age, folder in enumerate(folders):
        for path in (folder, *folder.iterdir()):
            os.utime(path, (time.time() + 1e6 * age,) * 2)


def test_clocks_and_times_of_files_do_not_matter(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    first = started(project, "first", TOLD)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 1e6)
        past = started(project, "past", TOLD)  # the clock was reset
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 9e9)
        future = started(project, "future", TOLD)
    again = started(project, "first", TOLD)
    touch(again, future, past)
    assert [folder.name for folder in project.runs()] == ["first", "future", "past"] and again == first
    assert make_plan(project, Options()).folder == project.pick(None) == first
    started(project, "past", TOLD)
    touch(first, past, future)
    assert make_plan(project, Options()).folder == project.pick(None) == past


def test_runs_of_the_version_before_come_after_and_by_their_times(project: Project) -> None:
    old, older = write_run(project, "b", START, TOLD), write_run(project, "a", START, TOLD)
    assert project.pick(None) == older
    new = started(project, "new", TOLD)
    write_run(project, "a", START)
    assert [folder.name for folder in project.runs()] == ["new", "a", "b"] and new.exists() and old.exists()
    started(project, "b")
    assert [folder.name for folder in project.runs()] == ["b", "new", "a"]


def test_a_rejected_start_changes_nothing(project: Project) -> None:
    started(project, "other", DONE)
    night = started(project, "night", TOLD)
    write_run(
        project,
        "other",
        ev.Reported(commit="c", seed=1, baseline=1.0, best=0.9),
        ev.Hint(text='{"type":"started","turn":99}'),
    )
    report = Lock(project.logs / "other", loop=False)
    empty = project.logs / "empty"
    empty.mkdir()
    (empty / journal.NAME).touch()
    assert project.pick(None) == night == make_plan(project, Options()).folder
    assert project.at_work() == [] and project.runs()[-1] == empty
    report.release()


def test_stop_asks_which_where_several_are_at_work(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [started(project, name) for name in ("one", "two")]
    started(project, "three", TOLD)
    locks = [Lock(folder) for folder in folders]
    assert project.at_work() == folders[::-1] and project.pick(None) == folders[1]
    with pytest.raises(SystemExit):
        cli.main(["stop"])
    words = capsys.readouterr().err
    assert "2 runs are at work: two, one. Nothing was stopped" in words and "make stop ARGS=two" in words
    locks.pop().release()
    told: list[commands.Command] = []

    async def handle(command: commands.Command) -> commands.Reply:
        told.append(command)
        return commands.Reply(ok=True, words="stopping")

    async def stop() -> None:
        server = commands.Server(folders[0], handle)
        await server.start()
        await asyncio.to_thread(cli.app, ["stop"], standalone_mode=False)
        await server.close()

    asyncio.run(stop())
    assert told == [commands.Stop()] and "one: stopping" in capsys.readouterr().out
    locks.pop().release()


@pytest.mark.parametrize("command", ["status", "runs"])
def test_every_command_means_the_run_at_work(
    project: Project, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    old = started(project, "old")
    touch(started(project, "new", TOLD), old)
    lock = Lock(old)
    cli.app([command], standalone_mode=False)
    first = 1 if command == "runs" else 0  # after the header
    assert "old" in capsys.readouterr().out.splitlines()[first]
    lock.release()
    cli.app([command], standalone_mode=False)
    assert "new" in capsys.readouterr().out.splitlines()[first]


def test_a_broken_journal_is_named_and_keeps_no_other_run_from_going_on(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    good, broken = started(project, "good", TOLD), started(project, "broken", TOLD)
    with (broken / journal.NAME).open("ab") as file:
        file.write(b"nonsense\n")
    assert make_plan(project, Options()).folder == good
    with pytest.raises(SystemExit):
        cli.main(["status"])
    assert "Line 4 of" in capsys.readouterr().err


def test_names_of_new_runs_are_free_in_the_logs_and_in_git(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "localtime", lambda: time.struct_time((2026, 11, 6, 1, 1, 1, 4, 310, 0)))
    assert project.new_name(lambda name: False) == "nov06"
    for name in ("nov06", "nov06-2"):
        (project.logs / name).mkdir(parents=True)
    (project.logs / "nov06-3").symlink_to("nowhere")
    assert project.new_name(lambda name: name == "nov06-4") == "nov06-5"


def test_a_new_run_is_refused_a_name_that_git_knows(project: Project) -> None:
    for line in (
        "init -q",
        "-c user.name=u -c user.email=u@x commit -q --allow-empty -m first",
        "branch autoresearch/mine",
    ):
        subprocess.run(["git", *line.split()], check=True)
    before = {path for path in project.root.rglob("*")}
    with pytest.raises(
        UsageError, match=r"cannot be called mine.*refs/heads/autoresearch/mine is there.*Choose another"
    ):
        make_plan(project, Options(name="mine"))
    assert {path for path in project.root.rglob("*")} == before
    assert make_plan(project, Options()).folder.name != "mine" and make_plan(project, Options(name="yours")).new


def test_copies_of_a_run_and_other_folders_are_ignored(project: Project) -> None:
    night = started(project, "night", TOLD)
    for name in ("night-backup", "night copy", ".night", "NIGHT", "zzz"):
        shutil.copytree(night, project.logs / name)
    assert project.pick(None) == night == make_plan(project, Options()).folder
    assert {folder.name for folder in project.runs()} == {"night", "night-backup", "zzz"}


@pytest.mark.parametrize("kind", ["folder", "header", "inconsistent", "empty", "no text"])
def test_no_journal_whatever_is_wrong_with_it_keeps_other_runs_from_going_on(
    project: Project, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good = started(project, "good", TOLD)
    path = started(project, "odd") / journal.NAME
    first = path.read_bytes().splitlines(keepends=True)[0]
    if kind == "folder":
        path.unlink()
        path.mkdir()
    elif kind == "header":
        path.write_bytes(b'{"type":"created","v":1,"config":{},"turn":99}\n')
    elif kind == "inconsistent":
        path.write_bytes(first + b'{"type":"approved","number":7,"by":"auto"}\n' + path.read_bytes()[len(first) :])
    else:
        path.write_bytes(b"" if kind == "empty" else b"\xff\n")
    assert make_plan(project, Options()).folder == good
    cli.app(["runs"], standalone_mode=False)
    header, *shown = capsys.readouterr().out.splitlines()
    assert header.startswith("run ") and len(shown) == 2
    assert any(line.startswith("odd: ") for line in shown) and any(line.startswith("good ") for line in shown)
    cli.app(["runs", "--json"], standalone_mode=False)
    printed = capsys.readouterr()
    assert [found["run"] for found in json.loads(printed.out)] == ["good"] and printed.err.startswith("odd: ")


def test_the_list_of_all_runs_as_json_has_what_status_has(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    cli.app(["runs", "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out) == []
    started(project, "one", TOLD)
    started(project, "two")
    cli.app(["runs", "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    for name in ("two", "one"):
        cli.app(["status", name, "--json"], standalone_mode=False)
        assert json.loads(capsys.readouterr().out) == found.pop(0)
    assert found == []


def test_the_run_at_work_goes_on_else_the_one_started_last_unless_it_is_finished(tmp_path: Path) -> None:
    project = Project(tmp_path, tmp_path / "logs")
    write_run(project, "old", START, DONE)
    write_run(project, "night", START, TOLD)
    assert make_plan(project, Options()).folder.name == "night"
    write_run(project, "old", ev.Notice(text="as `report` may write it"))
    assert make_plan(project, Options()).folder.name == "night", "the one whose loop was started last"
    alive = Lock(write_run(project, "quiet", START))
    write_run(project, "short", START, DONE)
    assert make_plan(project, Options()).folder.name == "quiet", "one at work is come back to"
    alive.release()
    write_run(project, "quiet", TOLD)
    assert make_plan(project, Options()).new, "the last one is finished"
    write_run(project, "short", START)
    assert make_plan(project, Options()).folder.name == "short"


def test_a_run_whose_folder_was_removed_begins_anew_under_its_name(
    tmp_path: Path, corpus: Path, repo: Repository
) -> None:
    project, asked = Project(tmp_path, tmp_path / "logs"), Options(name="nightly", dataset="python")
    mine = Repository.open(project.root, project.logs / "repository")
    folder = project.logs / "nightly"
    mine.names.claim("nightly", "the run of last night", folder)
    assert choose_run(project, asked.name, asked.origin) == (folder, None)
    folder.mkdir(parents=True)
    (folder / journal.NAME).touch()  # emptied
    assert choose_run(project, asked.name, asked.origin) == (folder, None)
    (folder / results.TSV).write_text("what is left")
    with pytest.raises(UsageError, match=r"gone or empty, and results.tsv in .*`mv ") as refused:
        choose_run(project, asked.name, asked.origin)
    assert "nightly-before` keeps them" in str(refused.value)
    elsewhere = Project(tmp_path, tmp_path / "other logs")
    private = Repository.open(project.root, elsewhere.logs / "repository")
    private.names.claim("nightly", "a run of other logs", folder.with_name("moved"))
    with pytest.raises(UsageError, match=r"where no journal is now\. If that run is gone for good"):
        choose_run(elsewhere, asked.name, asked.origin)
