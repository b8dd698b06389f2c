"""python -I core/install_alone.py COMMAND...: run a command while no other process does so in this source tree.

Two installations at once would delete each other's environment. Uses only the standard library, since nothing is installed yet.
macOS has no command `flock`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Sequence


def main(command: Sequence[str]) -> None:
    """Lock this file, and replace this process by the command. The lock ends with the command and all that it starts."""
    lock = os.open(__file__, os.O_RDONLY)
    with contextlib.suppress(OSError):  # the file system has no locks
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another make installs; waiting.", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
    os.set_inheritable(lock, True)
    os.execvp(command[0], list(command))


if __name__ == "__main__":
    main(sys.argv[1:])
