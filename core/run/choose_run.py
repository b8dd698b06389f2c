"""Finds the run that is meant: a named one, the latest unfinished one, or a new one. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.git.repository import Repository
from core.machine.project import Project, UsageError
from core.model import RunConfig
from core.record import events as ev
from core.record import journal
from core.record.fold import fold
from core.record.journal import JournalError
from core.record.state import State
from core.reporting import results
from nanochat.contract.shell import quoted


def choose_run(project: Project, name: str | None, origin: str | None) -> tuple[Path, RunConfig | None]:
    """Decide which run is started or continued.

    Args:
        project: The source tree and its logs.
        name: The name that was given, or None.
        origin: The run whose incumbent a new run starts from, or None.

    Returns:
        The folder of the run, and its header (None for a new run).

    Raises:
        UsageError: The name is invalid or taken.
        JournalError: The journal of the run cannot be read.
    """
    if name is not None:
        folder = project.run(name)
        config = read_header(folder)
        if config is None:
            _check_no_results(folder)
        repo = Repository.find(project.root, project.logs / "repository") if config is None else None
        if repo is not None and (why := repo.names.why_taken(name, folder)):
            raise UsageError(
                f"A new run cannot be called {name}, since that name is taken in git: {why}. Nothing was changed. "
                f"Choose another --name."
            )
        return folder, config
    if origin is None:
        last = latest_run(project)
        if last is not None and not last[1].finished:
            return last[0], last[1].config
    return new_folder(project), None


def new_folder(project: Project) -> Path:
    """Return a folder for a new run. Its name is free in the logs and in git."""
    return project.run(project.new_name(why_taken_in_git(project)))


def why_taken_in_git(project: Project) -> Callable[[str], str]:
    """Return a function that returns why a name is taken in git, as a clause, or '' if it is free."""
    repo = Repository.find(project.root, project.logs / "repository")
    return repo.names.why_taken if repo is not None else lambda name: ""


def latest_run(project: Project, but: Path | None = None) -> tuple[Path, State] | None:
    """Return the folder and the state of the running run, else of the one that was started last, else None.

    `but`: the folder of a run to leave out.
    """
    for folder in project.runs():
        if folder == but:
            continue
        try:
            state = fold(journal.read(folder / journal.NAME))
        except Exception:  # a broken run must not prevent others from starting; named explicitly, it raises an error
            continue
        if state.config is not None:
            return folder, state
    return None


def read_header(folder: Path) -> RunConfig | None:
    """Return the settings in the header of a run, or None if there is no run yet. Raises JournalError."""
    path = folder / journal.NAME
    if not path.exists():
        return None
    first = next(iter(journal.read(path)), None)
    return first.config if isinstance(first, ev.Created) else None


def try_read_header(folder: Path) -> RunConfig | None:
    """Return the settings in the header of a run, even if later lines of its journal are broken. None if it cannot be read."""
    path = folder / journal.NAME
    try:
        with path.open("rb") as file:
            first = journal.decode(file.readline().removesuffix(b"\n"), 1, path)
        return first.config if isinstance(first, ev.Created) else None
    except (JournalError, OSError):
        return None


def _check_no_results(folder: Path) -> None:
    """Raise UsageError if a run has lost its journal but still has results, which a new run would overwrite."""
    left = [name for name in (results.TSV, results.NOTEBOOK) if (folder / name).exists()]
    if left:
        raise UsageError(
            f"The journal of run {folder.name} is gone or empty, and {' and '.join(left)} in {folder} are what is left of the run. "
            f"Nothing was changed. `{quoted(['mv', str(folder), f'{folder}-before'])}` keeps them, and then a new run can be called "
            f"{folder.name}."
        )
