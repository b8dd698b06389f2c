"""Writes report.html and report.png of a run from its journal, git and the files in its folder. Trains nothing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from core.errors import UserError, explained
from core.git.errors import RepositoryError
from core.git.namespace import branch_name
from core.git.repository import Repository
from core.judging import schedule
from core.machine.project import Project, UsageError
from core.record.experiment import experiment_id
from core.record.state import State
from core.reporting import card, diagnosis, picture
from core.reporting.page import page
from core.reporting.report import Material, Report, report
from core.reporting.results import HTML, PNG
from core.run import metrics
from core.run.background import say
from core.run.reading import read_state
from core.text import program_sha


class ReportFailed(UserError):
    """A file of the report could not be written. The message is shown to the user."""


def write(project: Project, folder: Path) -> tuple[Path, Path]:
    """Write report.html and report.png into the folder of a run, and return their paths.

    If one of them cannot be written, the other one still is.

    Raises:
        UsageError: The run has no header yet.
        JournalError: The journal cannot be read.
        ReportFailed: A file could not be written, or the picture cannot be drawn.
    """
    report = collect(project, folder)
    with contextlib.suppress(OSError):
        (folder / PNG).unlink()  # an older picture must not stay beside a newer page
    files: tuple[tuple[str, Callable[[], bytes]], ...] = (
        (HTML, lambda: page(report).encode("utf-8", "replace")),
        (PNG, lambda: picture.png(card.card(report))),
    )
    failures = []
    for name, content in files:
        try:
            _replace(folder / name, content())
        except Exception as error:
            problem = explained(error)
            if problem is None:
                raise
            failures.append(f"{folder / name} could not be written: {problem}")
    if failures:
        raise ReportFailed(" ".join(failures))
    return folder / HTML, folder / PNG


def command(project: Project, name: str | None, *, trains: bool) -> None:
    """Write report.html and report.png of a run, and print their paths: the command `report --html`. Raises UserError.

    `trains`: whether options were given that only make sense for the final check, which trains.
    """
    if trains:
        raise UsageError(
            "--seeds, --each and --longer train, and --html trains nothing. Give one of them. Nothing was done."
        )
    say(" ".join(map(str, write(project, project.pick(name)))))


def collect(project: Project, folder: Path) -> Report:
    """Return the facts of a run's report.

    Raises:
        UsageError: The run has no header yet.
        JournalError: The journal cannot be read.
    """
    state = read_state(folder)
    program = _read(project.program)
    sha = program_sha(program)
    diff, branch, git = _from_git(project, state)
    start = state.start_commit.commit if state.start_commit else ""
    material = Material(
        diffs={number: _read(folder / experiment_id(number) / "change.diff") for number in state.kept},
        diff=diff,
        start_curve=_curve(state, folder, start),
        best_curve=_curve(state, folder, state.incumbent),
        program=program,
        program_changed=state.charter is None or state.charter.sha != sha,
        machine=state.started.machine if state.started is not None else (),
        branch=branch,
        git=git,
        logs=() if folder.parent == project.root / "logs" else ("--logs", str(folder.parent)),
    )
    return report(state, schedule.noise(state), material)


def _from_git(project: Project, state: State) -> tuple[str, str, tuple[str, ...]]:
    """Return the change from the start to the best, the branch of the run, and the beginning of a git command.

    "" for what git cannot tell.
    """
    private = project.logs / "repository"
    git = ("git", "--git-dir", str(private)) if (private / "HEAD").exists() else ("git",)
    if not state.kept or state.start_commit is None:
        return "", "", git
    try:
        repo = Repository.find(project.root, private)
        if repo is None:
            return "", "", git
        branch = branch_name(repo.refs.branch(state.name))
        return repo.diff(state.start_commit.commit, state.incumbent), branch, git
    except RepositoryError:
        return "", "", git


def _curve(state: State, folder: Path, commit: str) -> tuple[diagnosis.Point, ...]:
    """Return the loss curve of a commit's first undisturbed training; empty if it was not recorded."""
    return diagnosis.curve(metrics.lines(folder, state.facts.get(commit)))


def _read(path: Path) -> str:
    """Return a text; "" if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return ""


def _replace(path: Path, content: bytes) -> None:
    """Write a file in one step, so that readers never see an incomplete one. Raises OSError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
