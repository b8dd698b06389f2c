"""The train.py that a run starts from: the user's own, with the profile's knobs set."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from core.change import edits, knobs
from core.git.repository import RepositoryError
from core.machine import profiles
from core.machine.project import UsageError
from core.record import events as ev
from nanochat.contract.job import CrashClass, Outcome

if TYPE_CHECKING:
    from core.run.active import ActiveRun

HALVINGS = 5  # of the batch, after a baseline that ran out of memory


class StartCommit:
    """The commit that the run starts from."""

    def __init__(self, active: ActiveRun) -> None:
        self._active = active

    def fit(self, source: str, knob_values: dict[str, Any], parent: str) -> None:
        """Commit the train.py that the run starts from, with the profile's knobs set."""
        source = knobs.set_knobs(source, knob_values) if knob_values else source
        words = ", ".join(f"{name} = {value}" for name, value in knob_values.items()) or "as it is"
        commit = self._active.repo.commit(
            parent, source, f"Start of run {self._active.name}\n\nKnobs for {self._active.profile.name}: {words}."
        )
        self._active.record(
            ev.StartCommit(
                commit=commit,
                source_hash=hashlib.sha256(source.encode()).hexdigest(),
                nodes=edits.ast_nodes(source),
                knobs=knob_values,
                parent=parent,
                user_commit=self._active.state.start_commit.user_commit
                if self._active.state.start_commit
                else self._found(parent),
            )
        )
        self._active.point(
            self._active.repo.attempt_ref(
                self._active.name,
                "fit" if len(self._active.state.start_commits) == 1 else f"fit-{len(self._active.state.start_commits)}",
            ),
            commit,
        )
        if self._active.state.start_commit is not None and self._active.state.start_commit.user_commit:
            self._active.point(
                self._active.repo.attempt_ref(self._active.name, "found"), self._active.state.start_commit.user_commit
            )
        self._active.point_best()

    def _found(self, base: str) -> str:
        """A commit with the user's train.py as it is now; `base` where that has the same. `apply` compares with it later."""
        try:
            text = self._active.project.train.read_text(encoding="utf-8-sig")
            if self._active.repo.holds(base, text):
                return base
            return self._active.repo.commit(base, text, f"train.py as run {self._active.name} found it")
        except (OSError, UnicodeDecodeError, RepositoryError):
            return base

    def fit_smaller(self) -> None:
        """Halve the batch after a baseline that ran out of memory. Raises UsageError when that cannot help."""
        failed, fit = self._active.state.baseline_failure, self._active.state.start_commit
        assert failed is not None and fit is not None
        failure = failed.result
        source = self._active.source(fit.commit)
        smaller = profiles.halve_batch({knob.name: knob.value for knob in knobs.read(source)})
        if (
            failure.crash is not CrashClass.OUT_OF_MEMORY
            or not smaller
            or len(self._active.state.start_commits) > HALVINGS
        ):
            tail = f"\n{failure.traceback}" if failure.traceback else ""
            raise UsageError(
                f"The baseline, your own train.py, could not be measured: {failure.reason}{tail}\n"
                f"Nothing was lost; the run is kept in {self._active.folder}. Mend nanochat/train.py"
                f"{' or the limit in program.md' if failure.outcome == Outcome.INVALID else ''} and start a new run."
            )
        self.fit(source, fit.knobs | smaller, fit.parent)
