"""From a terminal to the app: the loop goes to the background, and this process becomes the app."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from core.entry import discard_output
from core.errors import UserError
from core.machine.project import UsageError
from core.record import journal, run_lock

LOG = "loop.log"  # what the loop says when no terminal hears it
START_S = 120.0


def can_show_app() -> bool:
    """Whether somebody sits here: a terminal that can show an app, in both directions."""
    return os.isatty(0) and os.isatty(1) and os.environ.get("TERM", "dumb") not in ("", "dumb")


def say(text: str) -> None:
    """One line on stdout, at once. Ends the program where nobody reads any more. Raises UserError where it cannot be written."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        discard_output()
        raise SystemExit(0) from None
    except OSError as error:
        discard_output()
        raise UserError(f"What is printed cannot be written ({error.strerror}). What was done is done.") from error


def tell(text: str) -> None:
    """The same from the loop, which goes on where nobody reads any more, or the disk is full: the journal has it all."""
    try:
        print(text, flush=True)
    except OSError:
        discard_output()


def options(values: Mapping[str, object]) -> list[str]:
    """Command line options of those that were given."""
    return [word for name, value in values.items() if value is not None for word in (name, str(value))]


def background(folder: Path, arguments: Sequence[str]) -> None:
    """Start the loop of a run in a session of its own, which no closed terminal ends. Raises UsageError with its words."""
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    began = _size(folder / journal.NAME)
    with (folder / LOG).open("a") as log:
        start = log.tell()
        process = subprocess.Popen(
            _module("core.cli", "run", "--headless", "--attended", *arguments),
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if run_lock.alive(folder) and _size(folder / journal.NAME) > began:
            return
        if process.poll() is not None:
            with (folder / LOG).open() as log:
                log.seek(start)
                words = log.read().strip()
            if new and not began and not _size(folder / journal.NAME):  # nothing of a run was begun
                (folder / LOG).unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise UsageError(words or f"The loop ended at once with code {process.returncode} and no word.")
        time.sleep(0.05)
    raise UsageError(f"The loop has not begun within {START_S:.0f} s. What it said is in {folder / LOG}.")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def open_app(folder: Path) -> NoReturn:
    """Become the app, showing this run."""
    sys.stdout.flush()
    command = _module("tui", str(folder))
    os.execv(command[0], command)


def _module(name: str, *arguments: str) -> list[str]:
    """The command of another Python that runs a module of this source tree, whatever folder the user is in.

    PYTHONPATH cannot hold a folder with a colon in its path. The folder that the user is in is not searched.
    """
    code = (
        "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
        "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
    )
    return [sys.executable, "-P", "-c", code, str(Path(__file__).resolve().parents[2]), name, *arguments]
