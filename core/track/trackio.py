"""trackio: one run an experiment, in its database on this machine."""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any

import trackio

from core.machine.project import UsageError
from core.track.base import TrackFailed
from core.track.tracked import Tracked
from nanochat.contract.shell import quoted

REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")  # variables by which trackio sends to a server
DRAFT = ".new"  # ends the name of a run that is not complete yet


class Trackio:
    """A project of trackio. A run gets its name when it is complete.

    Args:
        project: The name of the project.

    Raises:
        UsageError: trackio is set to send to a server, whose runs cannot be looked up before.
    """

    def __init__(self, project: str) -> None:
        self._project = project
        for name in REMOTE:
            if os.environ.get(name):
                raise UsageError(
                    f"{name} is set, but experiments are exported to the database on this machine. Nothing was exported. "
                    f"Unset it; `trackio sync` sends the project afterwards."
                )

    @property
    def place(self) -> str:
        return f"`{quoted(['.venv/bin/trackio', 'show', '--project', self._project])}` shows them."

    def has(self, tracked: Tracked) -> bool:
        return bool(self._runs(_name(tracked)))

    def write(self, tracked: Tracked) -> None:
        output = io.StringIO()  # trackio prints several lines a run
        try:
            with contextlib.redirect_stdout(output):
                self._write(tracked)
        except (ValueError, RuntimeError) as error:
            raise TrackFailed(f"trackio cannot store {tracked.name} ({error}).") from error

    def _write(self, tracked: Tracked) -> None:
        name = _name(tracked)
        for left in self._runs(name + DRAFT):
            left.delete()
        trackio.init(
            self._project, name=name + DRAFT, group=tracked.group, config=dict(tracked.config), embed=False,
            auto_log_gpu=False, auto_log_cpu=False,
        )  # fmt: skip
        for point in tracked.curve:
            trackio.log(dict(point.values), step=point.step)
        last = tracked.curve[-1].step if tracked.curve else 0
        trackio.log(dict(tracked.summary), step=last)
        trackio.finish()
        drafts = self._runs(name + DRAFT)
        if not drafts:
            raise TrackFailed(f"trackio has not stored {tracked.name}.")
        drafts[0].rename(name)

    def _runs(self, name: str) -> list[Any]:
        """Return the runs of the project with that name."""
        try:
            return [run for run in trackio.Api().runs(self._project) if run.name == name]
        except ValueError:  # the project does not exist yet
            return []


def _name(tracked: Tracked) -> str:
    """Return the name of a run. trackio has no ids that others can choose, so the name holds that of the run."""
    return f"{tracked.group}-{tracked.number:05d}"
