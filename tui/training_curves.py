"""The training curve that the panes show: that of the followed experiment's running job, or else its recorded one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from core.record.experiment import job_folder
from nanochat.contract.layout import METRICS
from tui.bridge import Bridge
from tui.run_files import MetricsTail, last_lines, metrics_path
from tui.selection import Selection
from tui.view.curves import Curve
from tui.view.jobs import RunningJob, running_jobs
from tui.view.words import sanitize_line, sparkline

MOST_FILES = 8  # metrics.jsonl that are followed at once
SPARKLINE = 12  # columns


@dataclass(frozen=True)
class TrainingCurve:
    """The curve of a training, and that of the best to compare with."""

    name: str
    job: RunningJob | None
    curve: Curve
    best: Curve  # empty if it is the same training
    others: tuple[tuple[str, Curve], ...]  # names and curves of the experiments that the user has pinned


class TrainingCurves:
    """Follows the metrics.jsonl of selected trainings."""

    def __init__(self, bridge: Bridge, selection: Selection) -> None:
        self._bridge = bridge
        self._selection = selection
        self._tails: dict[Path, MetricsTail] = {}

    def followed_curve(self) -> TrainingCurve:
        """Return the curve for the loss pane."""
        state, folder = self._bridge.state, self._bridge.folder
        best_path = metrics_path(state, folder, state.incumbent) if state.incumbent else None
        job = self._followed_job()
        path = self._metrics_path(job)
        best, own = self._tail(best_path), self._tail(path)
        for tail in (best, own):
            if tail is not None:
                tail.read()
        return TrainingCurve(
            name=self._name(job),
            job=job,
            curve=own.curve if own else Curve(),
            best=best.curve if best and best_path != path else Curve(),
            others=self._pinned_curves({path, best_path}),
        )

    def _pinned_curves(self, shown: Collection[Path | None]) -> tuple[tuple[str, Curve], ...]:
        """Return the names and curves of the pinned experiments, without those that are shown anyway."""
        state, folder = self._bridge.state, self._bridge.folder
        found = []
        for number in self._selection.pinned:
            path = metrics_path(state, folder, state.experiments[number].commit)
            tail = self._tail(path) if path not in shown else None
            if tail is not None:
                tail.read()
                found.append((f"#{number}", tail.curve))
        return tuple(found)

    def loss_summary(self) -> str:
        """Return the last loss with a sparkline, of the newest running training or else of the followed experiment."""
        jobs = self._running_jobs()
        newest = jobs[-1] if jobs else None
        tail = self._tail(self._metrics_path(newest or self._followed_job()))
        if tail is None:
            return "loss –"
        tail.read()
        loss = tail.curve.smooth()[-1] if tail.curve.loss else newest.loss if newest else None
        if loss is None:
            return "loss –"
        return f"{self._name(newest)} loss {loss:.3f} {sparkline(tail.curve.smooth(), SPARKLINE)}"

    def latest_lines(self, job: RunningJob | None) -> list[str]:
        """Return lines with the last step of a running job and the last output of its trainer."""
        if job is None:
            return []
        loss = f" · step {job.step} · loss {job.loss:.3f}" if job.loss is not None else ""
        step = [f"{job.name} {job.stands}{loss}"]
        printed = last_lines(self._job_metrics(job).with_name("output.txt"))
        return step + [f"the trainer says: {sanitize_line(line, 300)}" for line in printed]

    def _running_jobs(self) -> list[RunningJob]:
        return running_jobs(self._bridge.state, self._bridge.live) if self._bridge.pid else []

    def _followed_job(self) -> RunningJob | None:
        """Return the running job of the followed experiment. If the user chose no experiment, else the newest running job."""
        jobs, followed = self._running_jobs(), self._selection.followed
        own = [job for job in jobs if followed is not None and job.number == followed.number]
        if own or self._selection.chosen is not None:
            return own[-1] if own else None
        return jobs[-1] if jobs else None

    def _name(self, job: RunningJob | None) -> str:
        followed = self._selection.followed
        return job.name if job else f"#{followed.number}" if followed else ""

    def _metrics_path(self, job: RunningJob | None) -> Path | None:
        if job is not None:
            return self._job_metrics(job)
        followed = self._selection.followed
        return metrics_path(self._bridge.state, self._bridge.folder, followed.commit) if followed else None

    def _job_metrics(self, job: RunningJob) -> Path:
        return job_folder(self._bridge.folder, job.role, job.number, job.job) / METRICS

    def _tail(self, path: Path | None) -> MetricsTail | None:
        if path is None:
            return None
        if path not in self._tails:
            if len(self._tails) > MOST_FILES:
                self._tails.pop(next(iter(self._tails)))
            self._tails[path] = MetricsTail(path)
        return self._tails[path]
