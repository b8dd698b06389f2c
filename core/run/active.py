"""A run that is open for work: its journal, state, git and folder, and the parts that change them."""

from __future__ import annotations

import contextlib
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
from core.judging.schedule import Work
from core.machine.profiles import Profile
from core.machine.project import Project
from core.model import RunConfig
from core.record import events as ev
from core.record.experiment import experiment_id
from core.record.fold import apply
from core.record.journal import Journal, JournalError
from core.record.state import State
from core.reporting.publish import publish
from core.run.experiments import Experiments
from core.run.integrity import IntegrityCheck
from core.run.program import Program
from core.run.start_commit import StartCommit
from core.run.trainings import Trainings


@dataclass
class ActiveRun:
    """One run, opened for work by its one loop. Every fact goes through `record`; refs and files follow the journal.

    Its parts: `program` (program.md), `start` (the commit it starts from), `experiments`, `trainings`.
    """

    project: Project
    folder: Path
    journal: Journal
    state: State
    repo: Repository
    profile: Profile
    seal: IntegrityCheck
    report: Callable[[ev.AnyEvent, State], None]
    _fingerprints: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.source = lru_cache(maxsize=64)(self.repo.source)
        self.program, self.start = Program(self), StartCommit(self)
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
    def sigma(self) -> float:
        return schedule.noise(self.state).sigma

    def record(self, event: ev.Event) -> None:
        """Journal first; then the state, then whoever listens. Raises JournalError when nothing can be written."""
        stamped = self.journal.append(event)
        apply(self.state, stamped)
        self.report(stamped, self.state)

    @contextlib.contextmanager
    def recording_end(self) -> Iterator[None]:
        """Record why the loop ends where something else than the loop ends it."""
        try:
            yield
        except BaseException as error:
            record_end(self.journal, self.state, error)
            raise

    def fingerprint(self, commit: str) -> str:
        """Fingerprint of the train.py of a commit."""
        if commit not in self._fingerprints:
            self._fingerprints[commit] = edits.fingerprint(self.source(commit))
        return self._fingerprints[commit]

    def tried(self, parent: str) -> dict[str, int]:
        """What is not to be tried again on the train.py of a commit: the fingerprint of each change, and its experiment."""
        here = self.fingerprint(parent)
        return schedule.tried(
            self.state, {e.parent for e in self.state.experiments.values() if self.fingerprint(e.parent) == here}
        )

    def attempt_folder(self, number: int | None) -> Path:
        """Where the files of an experiment lie; the baseline and re-measurements of the best lie under 00000."""
        return self.folder / experiment_id(number or 0)

    def job_folder(self, work: Work) -> Path:
        return self.attempt_folder(work.number if work.role.own_folder else None)

    def merge(self, base: str, ours: str, theirs: str) -> str | None:
        """Three-way merge of three texts of train.py; None when both changed the same lines."""
        return self.repo.merge(base, ours, theirs, self.folder)

    def sync_refs(self) -> None:
        """Make all refs match the journal: after a crash between the two, and only then, they differ."""
        wanted = wanted_refs(self.repo.refs, self.state, self.name)
        for words in self.repo.refs.reconcile(self.name, wanted, self.state.known):
            self.record(ev.Notice(text=words))

    def point_incumbent(self) -> None:
        """The run's branch, and the copy of the best train.py in its folder, to the present best."""
        self.point(self.repo.refs.branch(self.name), self.state.incumbent)
        with contextlib.suppress(OSError):
            (self.folder / "train.py").write_text(self.source(self.state.incumbent), encoding="utf-8")

    def point_attempt(self, number: int) -> None:
        attempts = self.state.experiments[number].attempts
        self.point(attempt_ref(self.name, number, len(attempts) - 1), attempts[-1])

    def point(self, ref: str, commit: str) -> None:
        """Refs follow the journal, which has the fact by now: what fails here is mended by `sync_refs` at the next start."""
        try:
            if why := self.repo.refs.point(ref, commit, self.state.known):
                where = f"{commit[:7]} is kept under refs/autoresearch"
                self.record(ev.Notice(text=f"{ref} {why}. It was left where it is; {where}."))
        except RepositoryError as error:
            self.record(ev.Notice(text=f"{ref} could not be set ({error}) The journal has it; the next start sets it."))

    def publish(self) -> None:
        """Rewrite results.tsv and notebook.md; a full disk is no reason to stop, the journal has it all."""
        with contextlib.suppress(OSError):
            publish(self.folder, self.state, self.sigma)


def record_end(record: Journal, state: State, error: BaseException) -> None:
    """Write down that the loop ends by this error, unless it has said why it ends. What cannot be written is left."""
    if state.config is not None and state.stopped is None:
        with contextlib.suppress(JournalError):
            apply(state, record.append(ev.Stopped(reason=_why(error))))


def _why(error: BaseException) -> str:
    """What ended a loop, in one line."""
    if (said := explained(error)) is not None:
        return " ".join(said.split())
    if isinstance(error, KeyboardInterrupt):
        return "interrupted by Ctrl-C"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    words = " ".join(str(error).split())
    return f"an error in AutoResearch itself: {type(error).__name__}{f': {words}' if words else ''}{where}"
