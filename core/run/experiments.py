"""Records proposals and verdicts as commits, files and events."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from core.change import edits
from core.git.namespace import kept_ref
from core.judging import schedule
from core.model import Proposal
from core.record import events as ev
from core.record.experiment import Experiment
from core.reporting import findings
from core.run import keep_commits
from core.run.keep_commits import message
from core.verdicts import Verdict
from nanochat.contract.job import Outcome, Result

if TYPE_CHECKING:
    from core.run.active import ActiveRun

# A proposal that was interrupted this often is not queued again, since it may be what kills the loop.
REPEATS_OF_INTERRUPTED = 12


class Experiments:
    """Records proposals, verdicts and the steps between them as commits, files and events."""

    def __init__(self, active: ActiveRun) -> None:
        self._active = active

    def propose(self, proposal: Proposal, parent: str, source: str, candidate: str, *, seconds: float) -> None:
        """Commit a proposal, write its files and record it.

        Args:
            proposal: The proposal.
            parent: The commit that it changes.
            source: The train.py of `parent`.
            candidate: The changed train.py.
            seconds: How long the agent took.
        """
        number = self._active.state.next_number
        commit = self._active.repo.commit(
            parent, candidate, message(proposal.hypothesis, f"experiment {number} of {self._active.name}")
        )
        added, removed = edits.added_removed(source, candidate)
        folder = self._write(number, source, candidate)
        (folder / "proposal.json").write_bytes(msgspec.json.format(msgspec.json.encode(proposal), indent=1))
        self._active.record(
            ev.Proposed(
                number=number,
                commit=commit,
                parent=parent,
                fingerprint=edits.any_fingerprint(candidate),
                hypothesis=proposal.hypothesis,
                agent=proposal.agent,
                charter=self._active.state.charter.sha if self._active.state.charter else "",
                topic=proposal.topic,
                notes=proposal.notes,
                added=added,
                removed=removed,
                nodes=edits.any_nodes(candidate),
                seconds=round(seconds, 3),
            )
        )
        self._active.point_attempt(number)

    def _write(self, number: int, old: str, new: str) -> Path:
        """Write an experiment's train.py and its diff, and return their folder."""
        folder = self._active.attempt_folder(number)
        folder.mkdir(exist_ok=True)
        (folder / "train.py").write_text(new, encoding="utf-8")
        (folder / "change.diff").write_text(edits.unified(old, new), encoding="utf-8")
        return folder

    def rebase(self, experiment: Experiment) -> None:
        """Re-apply an experiment's change to the incumbent, or record that it no longer applies."""
        try:
            merged = self.reapplied(experiment)
        except edits.EditError as error:
            reason = f"there is a new best, and the change does not apply to it: {error}"
            self.judge(ev.Judged(number=experiment.number, verdict=Verdict.CONFLICT, reason=reason, finding=""))
            return
        self.move(experiment, merged)

    def reapplied(self, experiment: Experiment) -> str:
        """Return the incumbent's train.py with an experiment's change. Raises EditError if it does not apply."""
        incumbent, number = self._active.state.incumbent, experiment.number
        old, new = self._active.source(experiment.parent), self._active.source(incumbent)
        merged = self._active.merge(old, new, self._active.source(experiment.commit))
        if merged is None:
            raise edits.EditError("the best changed the same lines")
        edits.validate_change(new, merged, off_limits=self._active.program.charter.off_limits)
        if (same := self._active.tried(incumbent).get(edits.fingerprint(merged), number)) != number:
            raise edits.EditError(f"on the new best it is the very change of experiment {same}")
        return merged

    def move(self, experiment: Experiment, merged: str) -> None:
        """Record a train.py as the change of an experiment to the incumbent."""
        incumbent, number = self._active.state.incumbent, experiment.number
        new = self._active.source(incumbent)
        commit = self._active.repo.commit(
            incumbent,
            merged,
            message(experiment.hypothesis, f"experiment {number} of {self._active.name}, on the new best"),
        )
        self._write(number, new, merged)
        self._active.record(
            ev.Rebased(
                number=number,
                commit=commit,
                parent=incumbent,
                fingerprint=edits.fingerprint(merged),
                nodes=edits.ast_nodes(merged),
            )
        )
        self._active.point_attempt(number)

    def recheck(self, *, begun: bool = False) -> None:
        """Check waiting proposals against a program.md that has changed since they were made.

        `begun`: check all of them, since an earlier loop may have ended between a proposal and its rejection.
        """
        self._active.program.watch()
        waiting = [experiment for experiment in self._active.state.open.values() if not experiment.launched]
        for experiment in waiting if begun else list(schedule.to_recheck(self._active.state)):
            try:
                edits.validate_change(
                    self._active.source(experiment.parent),
                    self._active.source(experiment.commit),
                    off_limits=self._active.program.charter.off_limits,
                )
            except edits.EditError as error:
                same = self._active.state.charter is not None and experiment.charter == self._active.state.charter.sha
                reason = f"{'rejected after a restart of the loop' if same else 'program.md changed while it waited'}: {error}"
                self.judge(ev.Judged(number=experiment.number, verdict=Verdict.INVALID, reason=reason, finding=""))

    def revise(self, experiment: Experiment, source: str, hypothesis: str = "") -> None:
        """Replace the change of a proposal that has not run by the human's."""
        number, old = experiment.number, self._active.source(experiment.parent)
        body = f"experiment {number} of {self._active.name}, revised by the human"
        commit = self._active.repo.commit(experiment.parent, source, message(hypothesis or experiment.hypothesis, body))
        self._write(number, old, source)
        added, removed = edits.added_removed(old, source)
        self._active.record(
            ev.Revised(
                number=number,
                commit=commit,
                fingerprint=edits.fingerprint(source),
                hypothesis=hypothesis,
                added=added,
                removed=removed,
                nodes=edits.ast_nodes(source),
            )
        )
        self._active.point_attempt(number)

    def judge(self, judged: ev.Judged) -> None:
        """Record a verdict with its finding. A kept change becomes a commit on the run's branch."""
        experiment = self._active.state.experiments[judged.number]
        fields: dict[str, Any] = {"finding": findings.finding(judged, experiment)}
        if judged.verdict.kept:
            fields |= keep_commits.commit_change(self._active, experiment, judged)
        self._active.record(msgspec.structs.replace(judged, **fields))
        if "commit" in fields:
            self._active.point(kept_ref(self._active.name, judged.number), fields["commit"])
            self._active.point_incumbent()
        self._active.publish()

    def aborted(self, number: int) -> None:
        """Record the verdict on an aborted experiment, or the end of an aborted rerun."""
        if number in self._active.state.open:
            reason = "aborted by the human"
            self.judge(ev.Judged(number=number, verdict=Verdict.INTERRUPTED, reason=reason, finding="", by="human"))
        elif number in self._active.state.reruns:
            self._active.record(ev.Rerun(number=number, wanted=False))

    def interrupt_running(self, reason: str) -> None:
        """Record every running job as interrupted. Interrupted experiments are queued again, unless the human aborted them."""
        numbers = []
        for launched in list(self._active.state.running.values()):
            self._active.record(
                ev.Measured(
                    role=launched.role,
                    commit=launched.commit,
                    seed=launched.seed,
                    number=launched.number,
                    result=Result(job=launched.job, outcome=Outcome.INTERRUPTED, reason=reason),
                )
            )
            if launched.number is not None and launched.number not in numbers:
                numbers.append(launched.number)
        for number in numbers:
            experiment = self._active.state.experiments[number]
            if number in self._active.state.aborted:
                self.aborted(number)
            if experiment.verdict is not None:
                continue
            self.judge(ev.Judged(number=number, verdict=Verdict.INTERRUPTED, reason=reason, finding=""))
        repeated = {experiment.retry_of for experiment in self._active.state.experiments.values()}
        # All experiments, since an earlier loop may have been killed before it queued them again.
        for experiment in list(self._active.state.experiments.values()):
            cut = experiment.verdict is Verdict.INTERRUPTED and experiment.by != "human"
            if cut and experiment.number not in repeated and self._repeats(experiment) < REPEATS_OF_INTERRUPTED:
                self._queue_again(experiment)

    def _repeats(self, experiment: Experiment) -> int:
        count = 0
        while experiment.retry_of is not None:
            count, experiment = count + 1, self._active.state.experiments[experiment.retry_of]
        return count

    def _queue_again(self, experiment: Experiment) -> None:
        number = self._active.state.next_number
        folder = self._active.attempt_folder(number)
        folder.mkdir(exist_ok=True)
        for name in ("train.py", "change.diff", "proposal.json"):
            with contextlib.suppress(OSError):
                shutil.copyfile(self._active.attempt_folder(experiment.number) / name, folder / name)
        self._active.record(
            ev.Proposed(
                number=number,
                commit=experiment.commit,
                parent=experiment.parent,
                fingerprint=experiment.fingerprint,
                hypothesis=experiment.hypothesis,
                agent=experiment.agent,
                charter=experiment.charter,
                topic=experiment.topic,
                notes=experiment.notes,
                added=experiment.added,
                removed=experiment.removed,
                nodes=experiment.nodes,
                retry_of=experiment.number,
            )
        )
        self._active.point_attempt(number)
