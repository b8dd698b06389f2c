"""`runs --delete`: what belongs to the run is gone, and nothing else."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
import typer

from core import cli
from core.git.errors import RepositoryError
from core.git.namespace import OURS
from core.git.repository import Repository
from core.machine.project import Project, UsageError
from core.record import events as ev
from core.record import journal
from core.record.fold import fold
from core.record.run_lock import Lock
from core.run import deletion
from tests.core.git.checkouts import NEW, OLD, git, night
from tests.core.run.runs import START, TOLD, write_run


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    root = tmp_path / "project"
    (root / "nanochat").mkdir(parents=True)
    (root / "nanochat" / "train.py").write_text(OLD)
    (root / "nanochat" / "run.py").write_text("")
    (root / ".gitignore").write_text("logs/\n")
    git(root, "init", "-q", "-b", "main")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    monkeypatch.chdir(root)
    return Project(root, root / "logs")


def opened(project: Project) -> Repository:
    return Repository.open(project.root, project.logs / "repository")


def begun(project: Project, name: str) -> Path:
    """A run with commits and refs."""
    repo = opened(project)
    _, fit, _ = night(repo, name)
    folder = write_run(project, name, ev.StartCommit(commit=fit, source_hash="", nodes=1), START, TOLD)
    repo.owners.forget(name)
    state = fold(journal.read(folder / journal.NAME))
    repo.names.claim(name, state.id, folder, state.known)
    (folder / "00001").mkdir()
    (folder / "00001" / "train.py").write_text(NEW)
    return folder


def refs(project: Project) -> set[str]:
    return set(git(project.root, "for-each-ref", "--format=%(refname) %(objectname)").splitlines())


def files(project: Project) -> dict[Path, bytes]:
    """All files but those of git's objects and of git's records."""
    found = (path for path in project.root.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {path: path.read_bytes() for path in found if path.name != "lock"}


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(["runs", "--delete", *words])
    assert ended.value.code == 1
    return capsys.readouterr().err


def test_the_folder_and_the_refs_of_the_run_go_and_nothing_else(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(project, "other")
    begun(project, "night-2")
    git(project.root, "branch", "mine", "autoresearch/other")
    before, kept = refs(project), files(project)
    folder = begun(project, "night")
    locked = folder / "scratch" / "odd"
    locked.mkdir(parents=True)
    (locked / "file").touch()
    locked.chmod(0o500)  # as a training may leave it
    assert len(refs(project) - before) == 5, "the branch, three commits, and the record of the name"
    cli.app(["runs", "--delete", "night", "--yes"], standalone_mode=False)
    words = capsys.readouterr().out
    assert str(folder) in words and "the branch autoresearch/night and 4 refs" in words and "night was deleted" in words
    assert refs(project) == before and files(project) == kept
    assert sorted(path.name for path in project.logs.iterdir()) == ["night-2", "other"]
    assert git(project.root, "status", "--porcelain") == "" and opened(project).names.why_taken("night") == ""


def test_saved_commits_of_the_run_go_and_those_of_others_stay(project: Project) -> None:
    folder = begun(project, "night")
    state = fold(journal.read(folder / journal.NAME))
    assert state.start_commit is not None
    other = opened(project).commit(state.start_commit.commit, NEW, "of a former run")
    saved = [f"{OURS}/_before/night/fit/{commit[:12]}" for commit in (state.start_commit.commit, other)]
    for name, commit in zip(saved, (state.start_commit.commit, other), strict=True):
        git(project.root, "update-ref", name, commit)
    cli.app(["runs", "--delete", "night", "--yes"], standalone_mode=False)
    left = {line.split()[0] for line in refs(project)}
    assert saved[0] not in left and saved[1] in left


@pytest.mark.parametrize(
    "case",
    [
        "at work",
        "report",
        "checked out",
        "moved",
        "elsewhere",
        "another id",
        "no record",
        "no terminal",
        "link",
        "no run",
    ],
)
def test_what_cannot_be_deleted_is_left_as_it_is(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    folder = begun(project, "night")
    words, name, lock = ["--yes"], "night", None
    if case in ("at work", "report"):
        lock = Lock(folder, loop=case == "at work")
    elif case == "checked out":
        git(project.root, "worktree", "add", "-q", str(tmp_path / "linked"), "autoresearch/night")
    elif case == "moved":
        tip = opened(project).commit("autoresearch/night", OLD, "mine")
        git(project.root, "update-ref", "refs/heads/autoresearch/night", tip)
    elif case in ("elsewhere", "another id"):  # in a linked work tree, or with a journal that was replaced
        there = tmp_path / "elsewhere" / "night" if case == "elsewhere" else folder
        there.mkdir(parents=True, exist_ok=True)
        (there / journal.NAME).touch()
        git(project.root, "update-ref", "-d", f"{OURS}/_owner/night")
        repo = opened(project)
        commits = set(repo.refs.commits("night").values())
        repo.names.claim("night", "another", there, commits)
        (there / journal.NAME).write_text((there / journal.NAME).read_text() or "a journal")
    elif case == "no record":
        git(project.root, "update-ref", "-d", f"{OURS}/_owner/night")
    elif case == "no terminal":
        words = []
    elif case == "link":
        folder.rename(tmp_path / "night")
        folder.symlink_to(tmp_path / "night")
    else:
        name = "nothing"
    before, kept = refs(project), files(project)
    said = refused(capsys, name, *words)
    expected = {
        "at work": "loop of run night is alive. Nothing was deleted", "report": "export of run night is being made",
        "checked out": "is checked out", "moved": "which no run made", "elsewhere": "belongs to another run",
        "another id": "belongs to another run", "no record": "did not make the commit of", "no terminal": "add --yes",
        "link": "is a link to", "no run": "no run called nothing",
    }  # fmt: skip
    assert expected[case] in said and "Traceback" not in said
    assert refs(project) == before and files(project) == kept and folder.exists()
    if lock is not None:
        lock.release()


def test_at_a_terminal_it_asks(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begun(project, "night")
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    for answer in (False, True):
        monkeypatch.setattr(typer, "confirm", lambda words, default, answer=answer: answer)
        cli.app(["runs", "--delete", "night"], standalone_mode=False)
        assert folder.exists() != answer
    assert "Nothing was deleted." in capsys.readouterr().out


def test_a_run_whose_journal_cannot_be_read_and_one_without_git_can_be_deleted(project: Project) -> None:
    before = refs(project)
    odd = begun(project, "odd")
    (odd / journal.NAME).write_bytes(b"nonsense\n")
    plain = write_run(project, "plain", START, TOLD)
    for name in ("odd", "plain"):
        cli.app(["runs", "--delete", name, "--yes"], standalone_mode=False)
    assert not odd.exists() and not plain.exists() and refs(project) == before


def test_a_copy_goes_without_the_refs_of_its_original(project: Project) -> None:
    copy = Path(shutil.copytree(begun(project, "night"), project.logs / "copy"))
    before = refs(project)
    cli.app(["runs", "--delete", "copy", "--yes"], standalone_mode=False)
    assert not copy.exists() and refs(project) == before


def test_refs_that_move_meanwhile_keep_the_run(project: Project) -> None:
    folder = begun(project, "night")
    found = deletion.what_belongs_to(project, "night")
    git(project.root, "update-ref", "refs/heads/autoresearch/night", opened(project).commit("main", NEW, "mine"))
    before, kept = refs(project), files(project)
    with pytest.raises(RepositoryError):
        deletion.delete(found)
    assert refs(project) == before and files(project) == kept
    assert os.listdir(project.logs) == [folder.name]


@pytest.mark.parametrize("problem", [KeyboardInterrupt(), OSError(5, "Input/output error")])
def test_files_that_are_left_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException) -> None:
    """Ctrl-C while a large folder is deleted: the run is gone, and the message says where the rest lies."""
    project = Project(tmp_path, tmp_path / "logs")
    folder = write_run(project, "night", START, TOLD)

    def stopped(path: Path) -> None:
        raise problem

    monkeypatch.setattr(shutil, "rmtree", stopped)
    found = deletion.what_belongs_to(project, "night")
    with pytest.raises(
        UsageError, match=r"Run night was deleted, but files of it are left in .*Remove that folder by hand"
    ) as told:
        deletion.delete(found)
    left = folder.with_name(f".night.deleted-{os.getpid()}")
    assert str(left) in str(told.value) and left.is_dir() and not folder.exists()
