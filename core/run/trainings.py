"""Prepares, records and cleans up the trainings of a run."""

from __future__ import annotations

import contextlib
import json
import shutil
from typing import TYPE_CHECKING

from core.judging import grouping
from core.judging.schedule import Work
from core.machine import stats
from core.model import Role
from core.record import events as ev
from core.record import process_start
from core.record.experiment import job_folder
from core.run.jobs import event as event_of
from core.run.jobs import job as job_for
from nanochat.contract.job import Job, Result
from nanochat.contract.layout import COMPILED
from nanochat.contract.messages import Started

if TYPE_CHECKING:
    from core.run.active import ActiveRun

UNMEASURED = (
    "The machine's speed is not measured ({why}), so the budget is in plain CPU seconds. The run continues and "
    "compares only scores that were measured at about the same time."
)


class Trainings:
    """Writes the files of trainings and records their events."""

    def __init__(self, active: ActiveRun) -> None:
        self._active = active

    def launch(self, work: Work, slot: int) -> Job:
        """Write the files of a job, record its start, and return it."""
        name = f"j{self._active.state.jobs + 1:06d}"
        out = job_folder(self._active.folder, work.role, work.number, name)
        shutil.rmtree(out, ignore_errors=True)  # left by a loop that was killed before it recorded the job
        out.mkdir(parents=True)
        (out / "train.py").write_text(self._active.source(work.commit), encoding="utf-8")
        job = job_for(
            self._active.state,
            self._active.profile,
            self._active.program.charter,
            work,
            name,
            out,
            stats.memory_total(),
        )
        self._active.record(
            ev.Launched(
                job=name,
                role=work.role,
                commit=work.commit,
                seed=work.seed,
                slot=slot,
                number=work.number,
                nodes=work.nodes,
            )
        )
        return job

    def note_processes(self, started: Started) -> None:
        """Record the processes of a job, so that a later start can kill them after a crash."""
        pids = tuple((pid, at) for pid in started.pids if (at := process_start.started(pid)) is not None)
        if pids and started.job in self._active.state.running:
            self._active.record(ev.Processes(job=started.job, pids=pids, boot=process_start.boot()))

    def measured(self, work: Work, result: Result, node: str = "", kind: str = "") -> ev.Measured:
        """Record the result of a job, clean up its files, and return the event.

        `node`, `kind`: the machine of a cluster on which it ran.
        """
        event = event_of(self._active.state, self._active.program.charter, work, result, node, kind)
        first = work.role == Role.BASELINE and event.scored
        was_told = self._active.state.unmeasured
        self._active.record(event)
        self._group_nodes(event)
        if event.result.unmeasured and not was_told:
            self._active.record(ev.Notice(text=UNMEASURED.format(why=event.result.unmeasured)))
        self._tidy(work, event, keep_nats=first)
        if event.role.is_check or event.role in (Role.BASELINE, Role.INCUMBENT, Role.RERUN):
            self._active.publish()  # the mean of an experiment in it has changed
        return event

    def _group_nodes(self, event: ev.Measured) -> None:
        """Record which nodes of a cluster give the same scores, if a training says something new about that."""
        state = self._active.state
        if event.node and event.scored and grouping.is_common(state, event.commit, event.seed):
            for change in grouping.regrouped(state, self._active.sigma):
                self._active.record(change)

    def _tidy(self, work: Work, event: ev.Measured, *, keep_nats: bool) -> None:
        """Remove the large files of a job. Only the baseline's per-token scores and compiled kernels are kept."""
        out = job_folder(self._active.folder, work.role, work.number, event.job)
        with contextlib.suppress(OSError):
            if keep_nats:
                with contextlib.suppress(OSError):  # a rehearsal has no such file
                    shutil.move(out / "nats.npy", self._active.folder / "baseline.npy")
                if (out / COMPILED).is_dir():
                    shutil.rmtree(self._active.folder / COMPILED, ignore_errors=True)
                    shutil.move(out / COMPILED, self._active.folder / COMPILED)
            shutil.rmtree(out / COMPILED, ignore_errors=True)
            (out / "nats.npy").unlink(missing_ok=True)
            (out / "train.py").unlink(missing_ok=True)  # it is in the commit
            (out / "result.json").write_text(json.dumps({"reason": event.result.reason, "parts": event.result.parts}))
