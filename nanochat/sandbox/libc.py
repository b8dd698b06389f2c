"""System calls that Python lacks, through the C library. Names and numbers are those of linux/prctl.h."""

from __future__ import annotations

import ctypes
import signal
import sys

LINUX = sys.platform == "linux"
libc = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 4, 22
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_SCHED_CORE = 36, 38, 62


def prctl(option: int, value: int) -> None:
    """Set an option of this process. Does nothing on systems other than Linux. Errors are ignored."""
    if LINUX:
        libc.prctl(option, value, 0, 0, 0)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Receive a signal when the parent ends. Children do not inherit this. Has no effect if the parent has already ended."""
    prctl(PR_SET_PDEATHSIG, number)


def set_dumpable(yes: bool) -> None:
    """Set whether other processes of the user may trace this process. It must be set to map user ids of a namespace."""
    prctl(PR_SET_DUMPABLE, int(yes))


def stop_thread(pid: int, tid: int) -> None:
    """Send SIGSTOP to one thread of a process, which stops all of its threads (tgkill(2), signal(7)).

    Does nothing if the C library lacks the call or the thread has ended.
    """
    if LINUX and (tgkill := getattr(libc, "tgkill", None)) is not None:
        tgkill(pid, tid, signal.SIGSTOP)


def become_subreaper() -> None:
    """Make orphaned descendants children of this process, so that they can be found."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
