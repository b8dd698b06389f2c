"""Whether report.html tells of the whole run, or of what was found before. Pure."""

from __future__ import annotations

import time

from core.record.state import State


def is_old(written_t: float, state: State) -> bool:
    """Return whether the run went on after the report was written. `written_t`: its time, in seconds since the epoch."""
    return written_t < state.last_t


def is_coming(written_t: float | None, state: State, *, alive: bool) -> bool:
    """Return whether the loop has ended its work and writes the report now. `written_t`: the time of the present file; None without one."""
    return alive and state.stopped is not None and (written_t is None or written_t < state.stopped.t)


def age(written_t: float, state: State, *, alive: bool) -> str:
    """Return of which moment a report is, as a sentence; "" if it tells of all that was found.

    Args:
        written_t: When it was written, in seconds since the epoch.
        state: The state of the run.
        alive: Whether a loop runs.
    """
    if not is_old(written_t, state):
        return ""
    same_day = time.localtime(written_t)[:3] == time.localtime(state.last_t)[:3]
    when = time.strftime("%H:%M" if same_day else "%Y-%m-%d %H:%M", time.localtime(written_t))
    if not alive:
        return f"It is from {when}, before the run ended."
    resumed = state.started is not None and written_t < state.started.t
    return f"It is from {when}, before the run was resumed." if resumed else f"It is from {when}; the run goes on."
