"""Refuses a run, a final report or an export on a device that another run uses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from core.machine.project import Project, UsageError
from core.record import run_lock
from core.run.background import say
from core.run.choose_run import try_read_header
from core.run.plan import Plan
from nanochat.contract.shell import make
from nanochat.contract.turns import alone


def check_run_device(project: Project, chosen: Plan) -> None:
    """Raise UsageError if another run in these logs trains on the same device: its loop, a final report or an export.

    A rehearsal uses no device. Neither does a command that only shows a run whose loop is running.
    """
    if chosen.config.computed or run_lock.alive(chosen.folder) is not None:
        return
    if (other := _run_on_device(project, chosen.config.device, but=chosen.folder)) is not None:
        raise UsageError(
            f"{_activity(other)} on {chosen.config.device} now. Two runs on one device slow each other down, which changes "
            f"their scores. Nothing was started. {_how_to_stop(other)}--beside starts it anyway."
        )


@contextlib.contextmanager
def claimed_device(project: Project, chosen: Plan, *, beside: bool) -> Iterator[None]:
    """Let one start at a time open a run on a device, and check the device again before it does.

    Otherwise two commands that start within seconds do not see each other, since neither run has a header yet.

    `beside`: whether the run may share its device.

    Raises:
        UsageError: As `check_run_device`.
    """
    device = chosen.config.device
    with contextlib.suppress(OSError):  # whatever opens the run says why
        project.logs.mkdir(parents=True, exist_ok=True)
    with alone(project.logs / f".{device}", lambda: say(f"Another run is starting on {device}; waiting.")):
        if not beside:
            check_run_device(project, chosen)
        yield


def check_command_device(project: Project, folder: Path, device: str) -> None:
    """Raise UsageError if a run in these logs trains on the device. For commands that train outside of a loop.

    Another such command on the same run, in `folder`, is not refused here: the lock of the run does that.
    """
    own = folder if run_lock.alive(folder) is None else None
    if (other := _run_on_device(project, device, but=own)) is not None:
        raise UsageError(
            f"{_activity(other)} on {device} now. Training beside it would slow it down and change its scores. Nothing was started. "
            f"Try again when it has ended. {_how_to_stop(other)}--beside does it now anyway."
        )


def _run_on_device(project: Project, device: str, but: Path | None = None) -> Path | None:
    """Return the folder of a run on which a loop, a final report or an export works that trains on the device, or None."""
    for folder in project.in_use():
        config = try_read_header(folder)
        if folder != but and config is not None and not config.computed and config.device == device:
            return folder
    return None


def _activity(folder: Path) -> str:
    name = folder.name
    if run_lock.alive(folder) is not None:
        return f"Run {name} is training"
    return f"A final report or an export of run {name} is being made"


def _how_to_stop(folder: Path) -> str:
    """Return sentences about how to see and stop a loop; '' where none runs."""
    if run_lock.alive(folder) is None:
        return ""
    return f"{make('attach', folder.name)} shows run {folder.name}, {make('stop', folder.name)} stops it. "
