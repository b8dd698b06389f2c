"""Deletes a run for `runs --delete`: its folder and its refs. Nothing else is touched."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import typer

from core.git.errors import RepositoryError
from core.git.namespace import branch_name
from core.git.repository import Repository
from core.machine.project import Project, UsageError
from core.record import journal, run_lock
from core.record.fold import fold
from core.record.run_lock import Lock
from core.run.background import say
from nanochat.contract.shell import make


@dataclass(frozen=True)
class Deletion:
    """What is deleted.

    Attributes:
        folder: The folder of the run.
        kept: The number of its kept changes.
        repo: The repository with its refs, or None.
        refs: Its refs, as ref -> object.
    """

    folder: Path
    kept: int
    repo: Repository | None
    refs: Mapping[str, str]

    @property
    def words(self) -> str:
        """What is deleted, as text."""
        parts = [f"the folder {self.folder} ({_megabytes(self.folder):.0f} MB)"]
        branches = [branch_name(name) for name in self.refs if name.startswith("refs/heads/")]
        parts += [f"the branch {name}" for name in branches]
        if rest := len(self.refs) - len(branches):
            parts.append(f"{rest} ref{'s' if rest > 1 else ''} below refs/autoresearch")
        *most, last = parts
        listed = f"{', '.join(most)} and {last}" if most else last
        kept = f" The run has kept {self.kept} change{'s' if self.kept > 1 else ''}." if self.kept else ""
        return f"This deletes {listed}.{kept} It cannot be undone."


def ask_and_delete(project: Project, name: str, *, asks: bool) -> None:
    """Delete a run. Prints what is deleted first.

    Args:
        project: The source tree and its logs.
        name: The name of the run.
        asks: Whether to ask at the terminal.

    Raises:
        UsageError: There is no such run, its loop is alive, or there is no terminal to ask at.
        RepositoryError: Its refs belong to another run, its branch is checked out or was moved, or git failed.
        RunBusy: A final report or an export of the run is being made.
    """
    deletion = what_belongs_to(project, name)
    say(deletion.words)
    if asks:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise UsageError("Nothing was deleted. Without a terminal to ask at, add --yes.")
        if not typer.confirm(f"Delete run {name}?", default=False):
            say("Nothing was deleted.")
            return
    delete(deletion)
    say(f"Run {name} was deleted.")


def what_belongs_to(project: Project, name: str) -> Deletion:
    """Return what belongs to a run. Raises UsageError and RepositoryError if it cannot be deleted."""
    folder = project.pick(name)
    if run_lock.alive(folder) is not None:
        raise UsageError(f"The loop of run {name} is alive. Nothing was deleted. {make('stop', name)} stops it.")
    if folder.is_symlink():
        raise UsageError(
            f"{folder} is a link to {os.readlink(folder)}. Nothing was deleted. Delete the run there by hand."
        )
    owner, known, kept = "", set[str](), 0
    with contextlib.suppress(Exception):  # a journal that cannot be read
        state = fold(journal.read(folder / journal.NAME))
        owner, known, kept = state.id, state.known, len(state.kept)
        if state.start_commit is not None:
            known = known | {state.start_commit.user_commit}  # a ref of the run keeps it reachable
    repo = Repository.find(project.root, project.logs / "repository")
    try:
        refs = repo.names.refs_to_delete(name, owner, folder, known) if repo is not None else {}
    except RepositoryError as error:
        raise RepositoryError(f"Run {name} cannot be deleted. {error} Nothing was deleted.") from error
    return Deletion(folder, kept, repo, refs)


def delete(deletion: Deletion) -> None:
    """Delete the refs and the folder of a run. If the refs cannot be deleted, the run is left as it was.

    Raises:
        UsageError: The folder cannot be deleted.
        RepositoryError: The refs cannot be deleted.
        RunBusy: A loop or a final report has started meanwhile.
    """
    folder = deletion.folder
    doomed = folder.with_name(f".{folder.name}.deleted-{os.getpid()}")  # no name of a run
    try:
        lock = Lock(folder, loop=False)
        try:
            folder.rename(doomed)
            if deletion.repo is not None and deletion.refs:
                try:
                    deletion.repo.names.delete(folder.name, deletion.refs)
                except BaseException:  # also Ctrl-C
                    doomed.rename(folder)
                    raise
        finally:
            lock.release()
    except OSError as error:
        raise UsageError(f"{folder} cannot be deleted ({error.strerror or error}). Nothing was deleted.") from error
    try:
        _make_removable(doomed)
        shutil.rmtree(doomed)
    except (OSError, KeyboardInterrupt) as error:
        why = (error.strerror or error) if isinstance(error, OSError) else "interrupted"
        raise UsageError(
            f"Run {folder.name} was deleted, but files of it are left in {doomed} ({why}). Remove that folder by hand."
        ) from error


def _make_removable(folder: Path) -> None:
    """Give the owner all rights on the folders below a folder, since a training may have taken them away."""
    for root, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(root, name)
            if not path.is_symlink() and path.stat().st_mode & stat.S_IRWXU != stat.S_IRWXU:
                path.chmod(0o700)


def _megabytes(folder: Path) -> float:
    """Return the size of the files below a folder. What cannot be read does not count."""
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += Path(root, name).lstat().st_size
    return total / 1e6
