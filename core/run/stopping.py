"""Stops the loop of a run from outside: the command `stop`."""

from __future__ import annotations

import time

from core.errors import UserError
from core.machine.project import Project, UsageError
from core.record import journal, run_lock
from core.record.fold import fold
from core.run import commands
from core.run.background import say
from nanochat.contract.shell import make

WAIT_S = 60.0  # how long `stop --now` waits for the loop to end


def stop(project: Project, name: str | None, *, now: bool) -> None:
    """Tell the loop of a run to stop, and print its answer.

    Args:
        project: The source tree and its logs.
        name: The run; None for the active one.
        now: Abort the running experiment, and wait until the loop has ended.

    Raises:
        UsageError: There is no such run, or several runs are active and none was named.
        NoLoop: The loop does not answer.
        UserError: The loop has not ended in time.
    """
    working = project.at_work()
    if name is None and len(working) > 1:
        names = ", ".join(folder.name for folder in working)
        raise UsageError(
            f"{len(working)} runs are at work: {names}. Nothing was stopped. Say which one: {make('stop', working[0].name)}."
        )
    folder = project.pick(name)
    if run_lock.alive(folder) is None:
        say(f"Run {folder.name} has no loop running; there is nothing to stop.")
        return
    try:
        reply = commands.send(folder, commands.Stop(now=now))
    except commands.NoLoop:
        if fold(journal.read(folder / journal.NAME)).stopped is None:
            raise
        say(f"Run {folder.name} has ended; its loop writes the report. There is nothing to stop.")
        return
    say(f"{folder.name}: {reply.words}")
    deadline = time.monotonic() + WAIT_S
    while now and run_lock.alive(folder) is not None:
        if time.monotonic() > deadline:
            raise UserError(
                f"The loop has not ended within {WAIT_S:g} s. It was told to; {make('status', folder.name)} shows what it does."
            )
        time.sleep(0.1)
