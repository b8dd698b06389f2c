"""Error messages for users: expected errors, failures of the machine, and bugs."""

from __future__ import annotations

import errno
import os
import subprocess
import time
import traceback
from pathlib import Path

KEPT = "What was recorded before is kept."
# Errors of dependencies. By name, so that commands need not import packages they do not use.
FOREIGN = (
    "git.exc.",
    "gitdb.exc.",
    "sqlite3.",
    "psutil.",
    "httpx.",
    "httpcore.",
    "msgspec.",
    "concurrent.futures.process.",
)


class UserError(Exception):
    """Shown to the user as its message, without a traceback: what happened, what was kept, what to do next."""


def explained(error: BaseException) -> str | None:
    """Return a message for an error that is expected or comes from the machine, or None for a bug.

    Errors of the machine are those of files, disks, processes, memory, other programs and missing packages.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        return f"{_what(error)} {KEPT} {_way_out(error)}"
    if isinstance(error, MemoryError):
        return f"There is too little memory for this. {KEPT} Close other programs, or use --slots 1 or a smaller --profile."
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] not in ("core", "nanochat", "tui"):
        return f"A package cannot be used ({_line(error)}). {KEPT} `make run` installs what is missing."
    if isinstance(error, UnicodeError):
        return f"A text or a name is in an encoding that cannot be used here ({_line(error)}). {KEPT}"
    names = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__]
    if isinstance(error, subprocess.SubprocessError) or any(name.startswith(FOREIGN) for name in names):
        return f"{_line(error) or type(error).__name__}. {KEPT} `make doctor` checks this machine."
    return None


def told(error: BaseException, folder: Path | None) -> str:
    """Return a message for any error.

    The traceback of a bug is written to a file in `folder`, or in TMPDIR if that fails. If both fail, the message contains it.
    """
    words = explained(error)
    if words is not None:
        return words
    kind = f"{type(error).__name__}: {_line(error)}".rstrip(": ")
    text = "".join(traceback.format_exception(error))
    for place in (folder, Path(os.environ.get("TMPDIR") or "/tmp")):
        if place is None:
            continue
        try:
            path = place / time.strftime(f"crash-%Y%m%d-%H%M%S-{os.getpid()}.txt")
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return f"AutoResearch has a bug ({kind}). {KEPT} The details are in {path}; please report them."
    return f"AutoResearch has a bug ({kind}). {KEPT} Please report it, with this:\n{text}"


def _what(error: OSError) -> str:
    """Return what failed, with the path if it is known."""
    reason = error.strerror or _line(error) or type(error).__name__
    paths = [
        os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes | os.PathLike)
    ]
    if not paths:
        return f"The operating system reported an error: {reason}."
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
    path = _shortened(paths[-1 if full else 0])  # of a copy the target comes last, and it is the one without room
    return f"{path} cannot be used: {reason}."


def _shortened(path: str) -> str:
    """Return the path, cut in the middle if it is longer than 200 characters."""
    return path if len(path) <= 200 else f"{path[:100]}...{path[-80:]}"


def _way_out(error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return "Free some space (or raise the limit on it) and try again."
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return (
                "Change its permissions, or choose another folder: --logs for the runs, AUTORESEARCH_DATA for the data, TMPDIR for "
                "temporary files."
            )
        case errno.ENOENT | errno.ENOTDIR | errno.EISDIR | errno.ELOOP | errno.EEXIST | errno.ENOTEMPTY:
            return (
                "The path is missing, or something else is in its place. Fix this, or choose another folder (--logs for the runs, "
                "AUTORESEARCH_DATA for the data, TMPDIR for temporary files)."
            )
        case errno.ENAMETOOLONG:
            return "Use a shorter name or path."
        case errno.EMFILE | errno.ENFILE:
            return "Too many files are open: `ulimit -n 4096` in this shell allows more."
        case errno.ENOMEM | errno.EAGAIN:
            return "The machine has no room for more: close other programs and try again."
    return "Try again; `make doctor` checks this machine."


def _line(error: BaseException) -> str:
    """Return the error's message as one line of at most 300 characters."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:300]}..."
