"""The train.py that a run starts from: the user's with the profile's knobs set, or the incumbent of another run."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.change import edits, knobs
from core.git.errors import RepositoryError
from core.git.namespace import found_ref, start_ref
from core.git.repository import Repository
from core.machine import profiles
from core.machine.project import Project, UsageError
from core.model import Value
from core.record import events as ev
from core.record import journal
from core.record.fold import fold
from core.record.journal import JournalError
from core.target import TARGET
from nanochat.contract.job import CrashClass, Outcome

if TYPE_CHECKING:
    from core.run.active import ActiveRun

HALVINGS = 5  # how often the batch is halved after a baseline that ran out of memory


@dataclass(frozen=True)
class StartingPoint:
    """The train.py that a run starts from, before the profile's knobs are set."""

    source: str
    origin: str | None = None  # the run whose incumbent it is; None for the user's train.py


def starting_point(project: Project, origin: str | None) -> StartingPoint:
    """Return the train.py that a new run starts from: the incumbent of the run `origin`, or the user's. Raises UsageError."""
    if origin is not None:
        return StartingPoint(_incumbent_source(project, origin), origin)
    try:
        source = project.train.read_text(encoding="utf-8-sig")
        edits.check(source)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{TARGET.path} cannot be read ({error}). Nothing was started.") from error
    except edits.EditError as error:
        raise UsageError(f"{TARGET.path} cannot be used: {error} Nothing was started; fix it first.") from error
    return StartingPoint(source)


def _incumbent_source(project: Project, origin: str) -> str:
    """Return the train.py of a run's incumbent. Raises UsageError if it has none."""
    folder = project.pick(origin)
    repo = Repository.open(project.root, project.logs / "repository")
    try:
        incumbent = fold(journal.read(folder / journal.NAME)).incumbent
    except JournalError:  # the run's branch in git may still have it
        owner = repo.owners.get(folder.name)
        ours = owner is None or owner.folder == str(folder)
        incumbent = repo.refs.commits(folder.name).get(repo.refs.branch(folder.name), "") if ours else ""
    if not incumbent:
        raise UsageError(f"Run {origin} has no best train.py yet. Nothing was started.")
    return repo.source(incumbent)


def startup_knobs(profile: profiles.Profile, source: str, repo: Repository) -> tuple[dict[str, Value], str]:
    """Return the profile's knobs to set in the user's train.py, and a sentence about those that stay ('' for none)."""
    values = {knob.name: knob.value for knob in knobs.read(source)}
    applicable = profiles.applicable_knobs(profile, values)
    if applicable and (run := repo.run_that_kept(source)):
        return {}, f"train.py is one that run {run} kept, so its sizes stay as they are."
    own = [f"{name} = {values[name]}" for name in profile.knobs if name in values and name not in applicable]
    if not own:
        return applicable, ""
    return (
        applicable,
        f"Your own values are kept ({', '.join(own)}): the profile {profile.name} only changes constants with their default values.",
    )


class StartCommit:
    """The commit that the run starts from."""

    def __init__(self, active: ActiveRun) -> None:
        self._active = active

    def make(self, source: str, knob_values: dict[str, Value], parent: str) -> None:
        """Set these knobs in the train.py that the run starts from, commit it on top of `parent`, and record it."""
        active = self._active
        earlier = active.state.start_commit.before if active.state.start_commit else {}
        values = {knob.name: knob.value for knob in knobs.read(source)} if knob_values else {}
        source = knobs.set_knobs(source, knob_values) if knob_values else source
        sizes = ", ".join(f"{name} = {value}" for name, value in knob_values.items()) or "as it is"
        commit = active.repo.commit(
            parent, source, f"Start of run {active.name}\n\nKnobs for {active.profile.name}: {sizes}."
        )
        active.record(
            ev.StartCommit(
                commit=commit,
                source_hash=hashlib.sha256(source.encode()).hexdigest(),
                nodes=edits.ast_nodes(source),
                knobs=knob_values,
                before={name: earlier.get(name, values[name]) for name in knob_values},
                parent=parent,
                user_commit=active.state.start_commit.user_commit
                if active.state.start_commit
                else self._commit_found(parent),
            )
        )
        active.point(start_ref(active.name, len(active.state.start_commits) - 1), commit)
        if active.state.start_commit is not None and active.state.start_commit.user_commit:
            active.point(found_ref(active.name), active.state.start_commit.user_commit)
        active.point_incumbent()

    def _commit_found(self, base: str) -> str:
        """Return a commit with the user's present train.py, or `base` if it has the same. `apply` compares with it later."""
        try:
            text = self._active.project.train.read_text(encoding="utf-8-sig")
            if self._active.repo.holds(base, text):
                return base
            return self._active.repo.commit(base, text, f"train.py as run {self._active.name} found it")
        except (OSError, UnicodeDecodeError, RepositoryError):
            return base

    def make_smaller(self) -> None:
        """Halve the batch after a baseline that ran out of memory. Raises UsageError if that cannot help."""
        failed, start = self._active.state.baseline_failure, self._active.state.start_commit
        assert failed is not None and start is not None
        failure, source = failed.result, self._active.source(start.commit)
        smaller = profiles.halve_batch({knob.name: knob.value for knob in knobs.read(source)})
        if (
            failure.crash is not CrashClass.OUT_OF_MEMORY
            or not smaller
            or len(self._active.state.start_commits) > HALVINGS
        ):
            tail = f"\n{failure.traceback}" if failure.traceback else ""
            raise UsageError(
                f"The baseline, your own train.py, could not be measured: {failure.reason}{tail}\n"
                f"Nothing was lost; the run is kept in {self._active.folder}. Fix {TARGET.path}"
                f"{' or the limit in program.md' if failure.outcome == Outcome.INVALID else ''} and start a new run."
            )
        self.make(source, start.knobs | smaller, start.parent)
