"""Starts the loop in the background and replaces this process by the app."""

from __future__ import annotations

import contextlib
import os
import signal
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
from nanochat.contract.shell import make

LOG = "loop.log"  # the output of a loop in the background
START_S = 120.0  # longest wait for the loop to begin
END_S = 10.0  # longest wait for it to end after Ctrl-C, before it is killed


def can_show_app() -> bool:
    """Return whether stdin and stdout are terminals that can show the app."""
    return os.isatty(0) and os.isatty(1) and os.environ.get("TERM", "dumb") not in ("", "dumb")


def say(text: str) -> None:
    """Print a line at once. Exits the program if the pipe is closed. Raises UserError for other errors."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        discard_output()
        raise SystemExit(0) from None
    except OSError as error:
        discard_output()
        raise UserError(f"The output cannot be written ({error.strerror}). What was done before is kept.") from error


def tell(text: str) -> None:
    """Print a line of the loop. Errors are ignored, since everything is in the journal."""
    try:
        print(text, flush=True)
    except OSError:
        discard_output()


def typeset(text: str) -> str:
    """Return a text of this program as stdout shows it: a terminal gets arrows and minus signs, a file what is easy to search."""
    from core.reporting import phrases  # imported late, so that `attach` opens the app quickly

    return phrases.typeset(text) if sys.stdout.isatty() else text


def options(values: Mapping[str, object]) -> list[str]:
    """Return the command-line words of the options whose value is not None. A flag has the value True, or False for its `--no-`."""
    arguments: list[str] = []
    for name, value in values.items():
        if isinstance(value, bool):
            arguments.append(name if value else name.replace("--", "--no-", 1))
        elif value is not None:
            arguments += [name, str(value)]
    return arguments


def background(folder: Path, arguments: Sequence[str]) -> None:
    """Start the loop of a run in a session of its own, so that it survives the terminal. Returns once it has begun.

    Ctrl-C ends the loop, and then the program with the exit code of an interrupt.

    Raises:
        UsageError: It ended at once, and the message is its output; or it takes longer to begin than usual, and goes on.
    """
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    began = _size(folder / journal.NAME)
    with (folder / LOG).open("a") as log:
        start = log.tell()
        process = subprocess.Popen(
            module("core.cli", "run", "--headless", "--attended", *arguments),
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    try:
        has_begun = _wait(folder, process, began)
    except KeyboardInterrupt:
        _end(process)
        _remove_if_nothing_began(folder, new=new)
        tell(_interrupted(folder))
        raise SystemExit(128 + signal.SIGINT) from None
    if has_begun:
        return
    with (folder / LOG).open() as log:
        log.seek(start)
        output = log.read().strip()
    _remove_if_nothing_began(folder, new=new)
    raise UsageError(output or f"The loop ended at once with exit code {process.returncode} and without a message.")


def _wait(folder: Path, process: subprocess.Popen[bytes], began: int) -> bool:
    """Wait until the loop has begun. Returns False if it has ended instead.

    Args:
        folder: The folder of the run.
        process: The process of the loop.
        began: The size of the journal before the start.

    Raises:
        UsageError: It takes longer than usual.
    """
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if run_lock.alive(folder) and _size(folder / journal.NAME) > began:
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.05)
    raise UsageError(
        f"The loop is still starting after {START_S:.0f} s, as process {process.pid}. What it says is in {folder / LOG}. "
        f"{make('attach', folder.name)} opens the app once it has begun; `kill {process.pid}` ends it."
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a loop that is starting: like Ctrl-C, so that it undoes its start, and by force after END_S or at another Ctrl-C."""
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        process.send_signal(signal.SIGINT)
        process.wait(END_S)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)  # its session has a group of the same number
        process.wait()


def _remove_if_nothing_began(folder: Path, *, new: bool) -> None:
    """Remove the log, and the folder if it is empty then, if no run was begun. `new`: the folder was made for this start."""
    if new and not _size(folder / journal.NAME):
        (folder / LOG).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()


def _interrupted(folder: Path) -> str:
    """Return what is said after Ctrl-C has ended a loop that was starting."""
    if not _size(folder / journal.NAME):
        return "Interrupted. The loop that was starting has been ended; no run was begun."
    name = folder.name
    return (
        f"Interrupted. The loop of {name} that was starting has been ended. The run is kept; "
        f"{make('run', '--name', name)} continues it."
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def open_app(folder: Path, *, read_only: bool = False, note: str = "") -> NoReturn:
    """Replace this process by the app, which shows the run and at first the note. With `read_only` it refuses to change the run."""
    sys.stdout.flush()
    command = module("tui", str(folder), *(["--read-only"] if read_only else []), *(["--note", note] if note else []))
    os.execv(command[0], command)


def follow(folder: Path) -> None:
    """Print a line for each event of a run until its loop has ended, or until Ctrl-C."""
    from core.record import fold  # imported late, so that `attach` opens the app quickly
    from core.record.state import State
    from core.reporting import log_lines

    reader, state = journal.Reader(folder / journal.NAME), State(name=folder.name)
    try:
        while True:
            for event in reader.new():
                fold.apply(state, event)
                if text := log_lines.line(event, state):
                    say(text)
            if run_lock.alive(folder) is None:
                break
            time.sleep(0.5)
    except KeyboardInterrupt:
        say("Detached. The loop keeps running. `make attach` shows it again, `make stop` stops it.")


def module(name: str, *arguments: str) -> list[str]:
    """Return a command that runs a module of this source tree in another Python, from any working directory.

    PYTHONPATH is not used, since it cannot hold a path with a colon. The working directory is not searched for modules.
    """
    code = (
        "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
        "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
    )
    return [sys.executable, "-P", "-c", code, str(Path(__file__).resolve().parents[2]), name, *arguments]
