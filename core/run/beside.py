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
    if name := _trains_on(project, chosen.config.device):
        raise UsageError(
            f"Run {name} is training on {chosen.config.device} now. Two runs on one device slow each other down, which changes their "
            f"scores. Nothing was started. {make('attach', name)} shows run {name}, {make('stop', name)} stops it. "
            f"--beside starts another run all the same."
        )


def check_free(project: Project, device: str) -> None:
    """Raise UsageError if a run in these logs has a running loop and trains on the device. For commands that train outside of a loop."""
    if name := _trains_on(project, device):
        raise UsageError(
            f"Run {name} is training on {device} now. This would slow it down, which changes its scores. Nothing was started. Try "
            f"again when it has ended: {make('status', name)} shows what it does, {make('stop', name)} stops it. --beside does it now "
            f"all the same."
        )


def _trains_on(project: Project, device: str) -> str:
    """Return the name of a run with a running loop that trains on the device, or ''."""
    for folder in project.at_work():
        config = readable_header(folder)
        if config is not None and not config.computed and config.device == device:
            return folder.name
    return ""
