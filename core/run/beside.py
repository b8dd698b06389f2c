"""Refuses a run or a final report on a device that another run uses. Writes nothing."""

from __future__ import annotations

from core.machine.project import Project, UsageError
from core.record import run_lock
from core.run.plan import Plan
from core.run.which import readable_header
from nanochat.contract.shell import make


def check_alone(project: Project, chosen: Plan) -> None:
    """Raise UsageError if a loop or a final report of another run in these logs trains on the same device.

    A rehearsal uses no device. Neither does a command that only shows a run whose loop is running.
    """
    if chosen.config.computed or run_lock.alive(chosen.folder) is not None:
        return
    for folder in project.in_use():
        config = readable_header(folder)
        if folder == chosen.folder or config is None or config.computed or config.device != chosen.config.device:
            continue
        name, loop = folder.name, run_lock.alive(folder) is not None
        what = f"Run {name}" if loop else f"The final report of run {name}"
        then = f"{make('attach', name)} shows run {name}, {make('stop', name)} stops it. " if loop else ""
        raise UsageError(
            f"{what} is training on {config.device} now. Two runs on one device slow each other down, which changes their "
            f"scores. Nothing was started. {then}--beside starts it all the same."
        )
