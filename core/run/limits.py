"""The limits of a start: those from the command line, and those of the run's last start that still hold. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.model import Limits
from core.record.state import State

HOUR_S = 3600.0


@dataclass(frozen=True)
class LimitOptions:
    """The limits from the command line. None for a limit that was not given."""

    max_experiments: int | None = None
    max_hours: float | None = None
    max_crashes: int | None = None


@dataclass(frozen=True)
class StartLimits:
    """When a start of the loop ends by itself.

    Attributes:
        limits: The limits.
        carried: The fields of `limits` that come from the run's last start.
        hours_before: Hours that earlier starts have used of a `max_hours` that comes from them.
    """

    limits: Limits = field(default_factory=Limits)
    carried: tuple[str, ...] = ()
    hours_before: float = 0.0


def start_limits(
    given: LimitOptions, state: State | None = None, configured: LimitOptions | None = None
) -> StartLimits:
    """Return the limits of a start.

    A run that was stopped, or whose loop died, keeps each limit that is not given anew. A run that has finished keeps none,
    since it would end at once.

    Args:
        given: The limits from the command line.
        state: The state of a continued run; None for a new run.
        configured: The limits from the config files, for those that are neither given nor kept. A number of experiments that a
            finished run has reached already is left out, since the run would end at once.
    """
    values, others = _by_name(given), _by_name(configured or LimitOptions())
    most = others["max_experiments"]
    if state is not None and state.finished and most is not None and state.counted >= most:
        others["max_experiments"] = None  # the run has reached it already, and is continued on purpose
    last = state.started if state is not None and not state.finished else None
    carried = []
    if last is not None:
        for name, value in values.items():
            earlier = getattr(last.limits, name)
            if value is None and earlier != getattr(Limits(), name):
                values[name] = earlier
                carried.append(name)
    values = {name: others[name] if value is None else value for name, value in values.items()}
    chosen = {name: value for name, value in values.items() if value is not None}
    used_h = _hours_used(state) if state is not None and "max_hours" in carried else 0.0
    return StartLimits(Limits(**chosen), tuple(carried), used_h)  # type: ignore[arg-type]


def _by_name(given: LimitOptions) -> dict[str, int | float | None]:
    return {
        "max_experiments": given.max_experiments,
        "max_hours": given.max_hours,
        "max_crashes_in_a_row": given.max_crashes,
    }


def _hours_used(state: State) -> float:
    """Return the hours that count against the `max_hours` of the last start, whose loop has ended."""
    assert state.started is not None
    return state.started.hours_before + state.start_s / HOUR_S
