"""Opens a run for work: lock, journal, copies, name and refs. The remains of a crash are cleaned up and recorded."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from core.execution import compiling
from core.execution.local import SCRATCH
from core.git.errors import NameTaken, RepositoryError
from core.git.repository import Repository
from core.machine.project import Project, UsageError
from core.model import RunConfig, Value
from core.record import events as ev
from core.record import journal, process_start, run_lock
from core.record.fold import apply, fold
from core.record.journal import Journal, JournalError
from core.record.run_lock import LOCK, Lock, RunBusy
from core.record.state import State
from core.run import earlier_runs, notices
from core.run.active import ActiveRun, killed_end, record_end
from core.run.data_check import check_data
from core.run.integrity import MADE, IntegrityCheck, freeze
from core.run.options import Options
from core.run.plan import Plan, renamed
from core.run.program import check_charter
from core.run.start_commit import StartingPoint, starting_point, startup_knobs
from nanochat.contract.checks import CompilerFinding
from nanochat.contract.shell import make

Report = Callable[[ev.AnyEvent, State], None]


def open_run(
    project: Project, chosen: Plan, options: Options, report: Report, *, loop: bool = True
) -> tuple[ActiveRun, Lock]:
    """Open a run for work: lock, journal, copies and refs. The remains of a crash are cleaned up and recorded.

    If the name of a new run was taken meanwhile, the run gets another one, unless the user chose the name.

    Args:
        project: The source tree and its logs.
        chosen: The plan: which run, and with which configuration.
        options: Options from the command line.
        report: Called with every recorded event and the state after it.
        loop: False for a final report.

    Returns:
        The run, and its lock. The caller closes the journal and releases the lock.

    Raises:
        UsageError: The run cannot be opened.
        RunBusy: Another process works on the run.
        NameTaken: The name belongs to another run in git.
        RepositoryError: Git failed.
        JournalError: The journal cannot be read or written.
    """
    while True:
        try:
            return _Opening(project, chosen, options, report, loop).open()
        except (RunBusy, NameTaken):
            if not chosen.unnamed:
                raise
            chosen = renamed(project, chosen)


def _made(folder: Path) -> list[str]:
    """Return what lies in a run's folder that a start would make."""
    return [name for name in MADE if os.path.lexists(folder / name)]


class _Opening:
    """One attempt to open a run. If it fails, all files of a new run are removed."""

    def __init__(self, project: Project, chosen: Plan, options: Options, report: Report, loop: bool) -> None:
        self._project = project
        self._chosen = chosen
        self._folder = chosen.folder
        self._options = options
        self._report = report
        self._loop = loop
        self._start: StartingPoint | None = None  # set once it is known
        self._compiling: CompilerFinding | None = None  # on a GPU: whether torch.compile works
        self._began = False  # whether the run existed before this try
        self._repo: Repository | None = None  # set once it is open

    def open(self) -> tuple[ActiveRun, Lock]:
        """Check everything that the run needs, and open it. After an error everything is undone before it is raised."""
        if self._chosen.new:
            self._start = starting_point(self._project, self._options.origin)
        self._check()
        lock, record, state = self._lock()
        try:
            active = self._begin(record, state)
        except BaseException as error:
            self._undo(error, lock, record, state)
            raise
        return active, lock

    def _check(self) -> None:
        """Raise UsageError if the run cannot be opened. Writes nothing."""
        folder, config, new = self._folder, self._chosen.config, self._chosen.new
        check_data(config, new, folder)
        finding = compiling.check(self._project.root, quick=True) if config.device == "cuda" else None
        if finding is not None and not new and config.compiles and not finding.works:
            raise UsageError(
                f"Run {folder.name} compiles what it trains, which cannot be done now: {finding.words}. Its scores could not be "
                f"compared with slower trainings. Nothing was changed. {finding.todo}."
            )
        check_charter(self._project.program)
        self._compiling = finding
        self._began = (folder / journal.NAME).exists()
        others = [] if self._began else _made(folder)
        # A name that was chosen for a new run was free a moment ago, so another command has begun there, or is giving it up.
        if others and (self._chosen.unnamed or run_lock.alive(folder) is not None):
            raise RunBusy(f"Run {folder.name} is being started by another command. Nothing was changed.")
        if others:
            raise UsageError(
                f"{folder} holds {' and '.join(others)}, which no run wrote. Nothing was changed. Choose another --name, or move "
                f"what is there."
            )

    def _lock(self) -> tuple[Lock, Journal, State]:
        """Lock the folder of the run and open its journal. Returns both, and the state of the run."""
        folder = self._folder
        lock = record = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = Lock(folder, loop=self._loop)
            record = Journal(folder)
            return lock, record, fold(record.open(), State(name=folder.name))
        except BaseException as error:
            _give_up(folder, record, lock, new=not self._began)
            if not isinstance(error, OSError):
                raise
            raise UsageError(
                f"{folder} cannot be written ({error.strerror or error}). Nothing was started. Make logs/ writable or name "
                f"another folder with --logs."
            ) from error

    def _begin(self, record: Journal, state: State) -> ActiveRun:
        """Make the copies, claim the name in git and commit the start, unless that is done already.

        Then clean up after a crash, and make the refs match the journal.
        """
        project, chosen, folder = self._project, self._chosen, self._folder
        if chosen.new and state.config is not None:
            self._began = True
            raise RunBusy(
                f"Run {folder.name} was started by another command just now; nothing was changed. `make attach` shows it."
            )
        self._repo = repo = Repository.open(project.root, project.logs / "repository")
        freeze(project.root, Path(chosen.config.data), folder, anew=state.config is None)
        knob_values, unset = self._startup_knobs(repo) if state.start_commit is None else ({}, "")
        former = self._claim(record, state, repo)
        active = ActiveRun(project, folder, record, state, repo, chosen.profile, IntegrityCheck(folder), self._report)
        if (killed := killed_end(state)) is not None:
            active.record(killed)
        if chosen.new and self._compiling is not None and not self._compiling.works:
            active.record(ev.Notice(text=notices.uncompiled(self._compiling)))
        begins = state.start_commit is None and state.earlier is None  # also after a first start that was killed
        if (
            begins
            and self._options.earlier is not False
            and (effects := earlier_runs.known_effects(project, active.config))
        ):
            active.record(effects)
        if begins and self._options.lessons:
            active.record(earlier_runs.lessons(project, active.config, self._options.origin))
        active.program.watch()
        if state.start_commit is None:
            active.backlog.begin()  # not later: a human may have deleted it
            self._commit_start(active, knob_values, unset)
        clean_up(active)
        active.sync_refs()
        active.write_best()  # a crash may have come before it, and `E` in the app begins with this train.py
        for note in (former, "" if repo.git.synced else notices.NO_SYNC):
            if note:
                active.record(ev.Notice(text=note))
        active.experiments.recheck(begun=True)
        if self._loop:
            active.backlog.clean()
            active.backlog.mark(active.state)  # a loop that was killed may not have come to it
            if active.state.ended:
                active.publish()  # likewise
        active.publish_due(now=True)
        return active

    def _startup_knobs(self, repo: Repository) -> tuple[dict[str, Value], str]:
        """Return the knobs to set in the start, and a sentence about those that stay as they are ('' for none)."""
        if self._start is None:  # the first start was killed before it recorded the start commit
            self._start = starting_point(self._project, self._options.origin)
        if self._start.origin is not None:
            return {}, ""
        return startup_knobs(self._chosen.profile, self._start.source, repo)

    def _claim(self, record: Journal, state: State, repo: Repository) -> str:
        """Claim the name of the run in git. The header of a new run is written first.

        Returns:
            A sentence about what happened to a former run of that name; '' if there was none.
        """
        if state.config is not None:
            return _claim_again(repo, self._folder, state)
        start = self._start
        assert start is not None  # a run without a header is new
        base = repo.base()
        own = start.origin is None and not repo.run_that_kept(start.source)
        compiles = self._compiling is None or self._compiling.works
        config = replace(self._chosen.config, base_commit=base, own_code=own, compiles=compiles)
        return _claim_first(repo, self._folder, record, state, config, self._project.next_turn())

    def _commit_start(self, active: ActiveRun, knob_values: dict[str, Value], unset: str) -> None:
        """Commit the train.py that the run starts from. `unset`: a sentence about knobs that stay as they are."""
        assert self._start is not None
        active.start.make(self._start.source, knob_values, active.config.base_commit)
        if unset:
            active.record(ev.Notice(text=unset))
        if self._start.origin is None and (note := notices.finished_before(self._project, self._folder)):
            active.record(ev.Notice(text=note))

    def _undo(self, error: BaseException, lock: Lock, record: Journal, state: State) -> None:
        """Record why the run could not be opened, and remove what a new run has created."""
        # The messages of these two errors say that nothing was changed.
        if self._loop and not isinstance(error, RunBusy | RepositoryError):
            if (killed := killed_end(state)) is not None:
                with contextlib.suppress(JournalError):
                    apply(state, record.append(killed))
            record_end(record, state, error)
        if not self._began and state.id and self._repo is not None and not _has_start(self._folder):
            with contextlib.suppress(RepositoryError):
                self._repo.names.unclaim(self._folder.name, state.id)
        _give_up(self._folder, record, lock, new=not self._began)


def _claim_first(repo: Repository, folder: Path, record: Journal, state: State, config: RunConfig, turn: int) -> str:
    """Write the header of a new run, then claim its name in git. Returns what `RunNames.claim` returns. Raises RepositoryError."""
    event = ev.Created(v=ev.SCHEMA, config=config, id=secrets.token_hex(16), turn=turn)
    apply(state, record.append(event))
    try:
        return repo.names.claim(folder.name, state.id, folder)
    except NameTaken as error:
        raise NameTaken(f"{error} Nothing was started. Choose another --name.") from error


def _claim_again(repo: Repository, folder: Path, state: State) -> str:
    """Claim the name of a continued run, if git does not know its owner yet. Returns what `RunNames.claim` returns.

    Raises NameTaken.
    """
    try:
        return repo.names.claim(folder.name, state.id, folder, state.known)
    except NameTaken as error:
        raise NameTaken(
            f"{error} So run {folder.name} in {folder.parent} cannot continue under this name. Nothing was changed. "
            f"{make('run', '--name', 'NEW', '--from', folder.name)} starts a new run from its best train.py."
        ) from error


def _give_up(folder: Path, record: Journal | None, lock: Lock | None, *, new: bool) -> None:
    """Close a run that could not be opened. A new run is removed, unless its start commit is recorded."""
    if record is not None:
        record.close()
    if new and not _has_start(folder):
        if lock is not None:  # else these belong to another loop
            for name in (*MADE, journal.NAME, LOCK, "reserve"):
                shutil.rmtree(folder / name, ignore_errors=True)  # for folders
                with contextlib.suppress(OSError):
                    (folder / name).unlink()
        with contextlib.suppress(OSError):
            folder.rmdir()  # fails if there are other files in it
    if lock is not None:
        lock.release()


def _has_start(folder: Path) -> bool:
    try:
        return fold(journal.read(folder / journal.NAME)).start_commit is not None
    except (JournalError, OSError):
        return False


def clean_up(active: ActiveRun) -> None:
    """Kill the processes that a crash has left, record their jobs as interrupted, and remove temporary files."""
    for left in active.state.processes.values():
        for pid, started in left.pids if left.boot == process_start.boot() else ():
            if process_start.started(pid) == started:  # the same process, not a later one with the same pid
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
    shutil.rmtree(active.folder / SCRATCH, ignore_errors=True)
    active.experiments.interrupt_running("the loop ended while it ran")
