"""Sentences for errors of Ray. They are told by the names of their classes, so that this module imports nothing of Ray."""

from __future__ import annotations

FULL = "ObjectStoreFullError"
NO_DISK = "OutOfDiskError"
NO_MEMORY = "OutOfMemoryError"


def is_full(error: BaseException) -> bool:
    """Return whether Ray could not store what it should send."""
    return bool(_names(error) & {FULL, NO_DISK})


def explained(error: BaseException, place: str) -> str:
    """Return what an error of Ray means, and what helps, as sentences.

    Args:
        error: What Ray raised.
        place: Where it happened, such as "Node second".
    """
    names = _names(error)
    if FULL in names:
        return (
            f"{place} has no room in Ray's object store, through which files and results pass. `ray memory` lists what fills it; "
            "a larger --object-store-memory of `ray start` gives it more."
        )
    if NO_DISK in names:
        return (
            f"{place} has a full disk, so Ray's object store cannot use it. Ray stops when 95% are used. Free some space below "
            "/tmp/ray, or start Ray there with another --temp-dir."
        )
    if NO_MEMORY in names:
        return (
            f"{place} ran out of memory, and Ray ended the process of the training. Fewer --slots need less; "
            "RAY_memory_monitor_refresh_ms=0 before `ray start` leaves the limits to the harness."
        )
    return f"{place} or its process has ended ({type(error).__name__})."


def _names(error: BaseException) -> set[str]:
    """Return the names of the classes of an error, and of those that caused it. Ray wraps what a task raises."""
    names: set[str] = set()
    seen: BaseException | None = error
    for _ in range(5):
        if seen is None:
            break
        names |= {kind.__name__ for kind in type(seen).__mro__}
        cause = getattr(seen, "cause", None)
        seen = cause if isinstance(cause, BaseException) else seen.__cause__
    return names
