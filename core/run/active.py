"""A run that is open for work: its journal, state, git repository and folder."""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from core.change import edits
from core.errors import explained
from core.git.errors import RepositoryError
from core.git.namespace import attempt_ref
from core.git.refs import wanted_refs
from core.git.repository import Repository
from core.judging import schedule
from core.judging.noise import Noise
from core.judging.run_noise import RunNoise
from core.machine.profiles import Profile
from core.machine.project import Project
from core.model import RunConfig
from core.record import events as ev
from core.record.experiment import experiment_id
from core.record.fold import apply
from core.record.journal import Journal, JournalError
from core.record.revisions import Revisions
from core.record.state import State
from core.reporting.results import BEST_DIFF
from core.reporting.tables import Tables
from core.run.backlog import Backlog
from core.run.experiments import Experiments
from core.run.integrity import IntegrityCheck
from core.run.program import Program
from core.run.start_commit import StartCommit
from core.run.trainings import Trainings

KILLED = "it was killed, or the machine went down"  # why a loop ended


@dataclass
class ActiveRun:
    """A run that its loop works on. All changes go through `record`; refs and files follow the journal.

    Attributes:
        project: The source tree and its logs.
        folder: The folder of the run.
        journal: The journal, open for writing.
        state: The present state, as the journal tells it.
        repo: The git repository.
        profile: The sizes and times for this machine.
        seal: Checks that the run's copies are unchanged.
        report: Called with every recorded event and the state after it.
        waits: Called with the number of a proposal that begins to wait for the human.
        program: program.md, as the run understands it.
        backlog: The ideas in its folder.
        start: The commit that the run starts from.
        experiments: Records proposals and verdicts.
        trainings: Records jobs and results.
        revisions: Which experiments have changed.
    """

    project: Project
    folder: Path
    journal: Journal
    state: State
    repo: Repository
    profile: Profile
    seal: IntegrityCheck
    report: Callable[[ev.AnyEvent, State], None]
    waits: Callable[[int], None] = lambda number: None
    _fingerprints: dict[str, str] = field(default_factory=dict)
    _unpublished: bool = False  # whether something has changed since the tables were written
    _began: float | None = (
        None  # when this process started a loop, by a clock that stands still while the machine sleeps
    )

    def __post_init__(self) -> None:
        self.revisions = Revisions(self.state)
        self._noise = RunNoise(self.state, self.revisions)
        self._tables = Tables(self.folder, self.state, self.revisions)
        self.source = lru_cache(maxsize=64)(self.repo.source)
        self.program, self.start = Program(self), StartCommit(self)
        self.backlog = Backlog(self.folder)
        self.experiments, self.trainings = Experiments(self), Trainings(self)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def config(self) -> RunConfig:
        """The run's header."""
        assert self.state.config is not None
        return self.state.config

    @property
    def noise(self) -> Noise:
        """The noise of one score. It is estimated again only after scores have changed."""
        return self._noise.present

    @property
    def sigma(self) -> float:
        return self.noise.sigma

    def record(self, event: ev.Event) -> None:
        """Write an event to the journal, update the state, and call `report`. Raises JournalError."""
        stamped = self.journal.append(event)
        if isinstance(event, ev.Started):
            self._began = time.monotonic()
        apply(self.state, stamped)
        self.revisions.note(stamped)
        self.report(stamped, self.state)

    @contextlib.contextmanager
    def recording_end(self) -> Iterator[None]:
        """Record an exception in the body as the reason why the loop ended."""
        try:
            yield
        except BaseException as error:
            record_end(self.journal, self.state, error, self.worked_s)
            raise

    @property
    def worked_s(self) -> float | None:
        """Seconds that the loop of this process has worked, without those that the machine slept. None if it has not started."""
        return time.monotonic() - self._began if self._began is not None else None

    def fingerprint(self, commit: str) -> str:
        """Return the fingerprint of a commit's train.py."""
        if commit not in self._fingerprints:
            self._fingerprints[commit] = edits.fingerprint(self.source(commit))
        return self._fingerprints[commit]

    def tried(self, parent: str) -> dict[str, int]:
        """Return the changes of a commit's train.py that must not be proposed again, as fingerprint -> experiment."""
        here = self.fingerprint(parent)
        alike = {commit for commit in self.revisions.parents if self.fingerprint(commit) == here}
        return schedule.tried_changes(self.state, alike, self.revisions.children(alike))

    def attempt_folder(self, number: int | None) -> Path:
        """Return the folder of an experiment. None stands for the baseline and the incumbent, whose folder is 00000."""
        return self.folder / experiment_id(number or 0)

    def merge(self, base: str, ours: str, theirs: str) -> str | None:
        """Return the three-way merge of three texts of train.py, or None if both sides changed the same lines."""
        return self.repo.merge(base, ours, theirs, self.folder)

    def merge_marked(self, base: str, ours: str, theirs: str) -> str:
        """Return the same merge with conflict markers where both sides changed the same lines."""
        return self.repo.merge_marked(base, ours, theirs, self.folder)

    def sync_refs(self) -> None:
        """Make all refs match the journal. They can only differ after a crash."""
        wanted = wanted_refs(self.repo.refs, self.state, self.name)
        for note in self.repo.refs.reconcile(self.name, wanted, self.state.known):
            self.record(ev.Notice(text=note))

    def point_incumbent(self) -> None:
        """Set the run's branch to the incumbent, and write its train.py and its whole change to the run's folder."""
        self.point(self.repo.refs.branch(self.name), self.state.incumbent)
        self.write_best()

    def write_best(self) -> None:
        """Write train.py and best.diff of the incumbent, each in one step, so that readers never see an incomplete file.

        Errors are ignored, since both derive from the journal. They are written again when the disk has room, and at each start.
        """
        best, start = self.source(self.state.incumbent), self.source(self.state.commits[0])
        with contextlib.suppress(OSError):
            for name, text in (("train.py", best), (BEST_DIFF, edits.unified(start, best))):
                draft = self.folder / f".{name}.new"
                draft.write_text(text, encoding="utf-8")
                os.replace(draft, self.folder / name)

    def point_attempt(self, number: int) -> None:
        attempts = self.state.experiments[number].attempts
        self.point(attempt_ref(self.name, number, len(attempts) - 1), attempts[-1])

    def point(self, ref: str, commit: str) -> None:
        """Set a ref. A failure is recorded as a notice; `sync_refs` sets the ref at the next start."""
        try:
            if why := self.repo.refs.point(ref, commit, self.state.known):
                where = f"{commit[:7]} is kept under refs/autoresearch"
                self.record(ev.Notice(text=f"{ref} {why}. It was left where it is; {where}."))
        except RepositoryError as error:
            self.record(ev.Notice(text=f"{ref} could not be set ({error}) The journal has it; the next start sets it."))

    def publish(self) -> None:
        """Bring results.tsv and notebook.md up to date, and mark the backlog. Errors are ignored, since all derives from the journal.

        In a long run the two files may follow some seconds later, see `publish_due`.
        """
        self._unpublished = True
        self.publish_due()
        self.backlog.mark(self.state)

    def publish_due(self, *, now: bool = False) -> None:
        """Write what `publish` has left for later, if it is time for that, or `now` in any case. Errors are ignored."""
        if self._unpublished and (now or self._tables.due):
            with contextlib.suppress(OSError):
                self._tables.write(self.noise)
                self._unpublished = False


def record_end(record: Journal, state: State, error: BaseException, worked_s: float | None = None) -> None:
    """Record that the loop ended by this error, unless an end is recorded already. A JournalError is ignored.

    `worked_s`: see `events.Stopped`.
    """
    if state.config is not None and state.stopped is None:
        with contextlib.suppress(JournalError):
            apply(state, record.append(ev.Stopped(reason=_why(error), worked_s=worked_s)))


def killed_end(state: State) -> ev.Stopped | None:
    """Return the end of a loop that was killed, at its last event. None if the end of the last loop is recorded.

    It must be recorded before anything else, since later events would make the loop's time longer.
    """
    if state.started is None or state.stopped is not None:
        return None
    return ev.Stopped(reason=KILLED, worked_s=state.start_s)


def _why(error: BaseException) -> str:
    """Return what ended a loop, as one line."""
    if (explanation := explained(error)) is not None:
        return " ".join(explanation.split())
    if isinstance(error, KeyboardInterrupt):
        return "interrupted by Ctrl-C"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    message = " ".join(str(error).split())
    return f"an error in AutoResearch itself: {type(error).__name__}{f': {message}' if message else ''}{where}"
