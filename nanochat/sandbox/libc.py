"""What the kernel offers and Python has no function for, through the C library. Names and numbers are those of linux/prctl.h."""

from __future__ import annotations

import ctypes
import signal
import sys

LINUX = sys.platform == "linux"
libc = ctypes.CDLL(None, use_errno=True)

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 4, 22
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_SCHED_CORE = 36, 38, 62


def prctl(option: int, value: int) -> None:
    """Set an option of this process. Does nothing on other systems than Linux, nor where the kernel refuses it."""
    if LINUX:
        libc.prctl(option, value, 0, 0, 0)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Be sent a signal when the parent ends. Not inherited by children; the parent may have ended already."""
    prctl(PR_SET_PDEATHSIG, number)


def set_dumpable(yes: bool) -> None:
    """Whether others of the same user may trace this process or read its memory (and it may map its user ids)."""
    prctl(PR_SET_DUMPABLE, int(yes))


def stop_thread(pid: int, tid: int) -> None:
    """Send SIGSTOP to one thread of a process. Whichever thread takes it first stops all of them (tgkill(2), signal(7)).

    Does nothing where the C library lacks the call, or the thread has ended.
    """
    if LINUX and (tgkill := getattr(libc, "tgkill", None)) is not None:
        tgkill(pid, tid, signal.SIGSTOP)


def become_subreaper() -> None:
    """Orphans below this process become its children, so that they can be found."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
