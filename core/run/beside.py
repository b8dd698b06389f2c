"""Refuses a second run on a device that another run uses. Writes nothing."""

from __future__ import annotations

from core.machine.project import Project, UsageError
from core.record import run_lock
from core.run.plan import Plan
from core.run.which import readable_header
from nanochat.contract.shell import make


def check_alone(project: Project, chosen: Plan) -> None:
    """Raise UsageError if another run in these logs has a running loop and trains on the same device.

    A rehearsal uses no device. Neither does a command that only shows a run whose loop is running.
    """
    if chosen.config.computed or run_lock.alive(chosen.folder) is not None:
        return
    for folder in project.at_work():
        config = readable_header(folder)
        if folder == chosen.folder or config is None or config.computed or config.device != chosen.config.device:
            continue
        name = folder.name
        raise UsageError(
            f"Run {name} is training on {config.device} now. Two runs on one device slow each other down, which changes their "
            f"scores. Nothing was started. {make('attach', name)} shows run {name}, {make('stop', name)} stops it. "
            f"--beside starts another run all the same."
        )
