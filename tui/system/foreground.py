"""Run a program in the terminal while the app is suspended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def run(command: Sequence[str], folder: Path | None = None) -> int:
    """Run a program and wait until it has ended. Returns its exit code.

    Args:
        command: The program and its arguments.
        folder: Its working directory; by default that of the app.

    Raises:
        OSError: It could not be started.
    """
    before = {  # Ctrl-C and Ctrl-\ are for the program, not for the waiting app
        number: signal.signal(number, lambda number, frame: None) for number in (signal.SIGINT, signal.SIGQUIT)
    }
    try:
        return subprocess.run(command, cwd=folder).returncode
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_and_wait(command: Sequence[str], folder: Path, title: str) -> int:
    """Run a program whose output the user should read, and wait for enter after it. Returns its exit code. Raises OSError."""
    print(f"$ {title}", flush=True)
    code = run(command, folder)
    print("\nenter goes back to the app ", end="", flush=True)
    try:
        while os.read(sys.__stdin__.fileno() if sys.__stdin__ else 0, 1) not in (b"\n", b"\r", b""):
            pass
    except (OSError, KeyboardInterrupt):
        print()
    return code


def open_file(path: Path) -> bool:
    """Open a file in the program that the desktop has for it, in the background. Returns False without a desktop."""
    if sys.platform != "darwin" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    nothing = subprocess.DEVNULL
    try:
        subprocess.Popen([opener, str(path)], stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True)
    except OSError:
        return False
    return True
