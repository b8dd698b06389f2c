"""Shows a notification in the terminals of a run: those of attached apps, and that of a loop in the foreground.

The terminal gets the escape sequences OSC 9 and OSC 777. Terminals that know neither ignore them. tmux passes them on where its option
`allow-passthrough` is on.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from core.text import sanitize_line

APP = "tui"  # the module that is named in the command line of an app, before the folder of its run
BOTH = ("WezTerm", "ghostty")  # values of TERM_PROGRAM: these know both sequences and would show the news twice
LONGEST = 400  # characters of the news


def show(folder: Path, title: str, text: str) -> None:
    """Show a notification in all terminals of a run. Prints a sentence if no terminal is found.

    Args:
        folder: The folder of the run.
        title: Its title.
        text: The news.

    Raises:
        OSError: None of the terminals can be written.
    """
    failures, shown = list[OSError](), 0
    for path, environ in terminals(folder).items():
        try:
            _write(path, sequences(title, text, environ))
            shown += 1
        except OSError as error:
            failures.append(error)
    if failures and not shown:
        raise failures[0]
    if not shown:
        print("No app is attached in a terminal, so nothing was shown.", flush=True)


def sequences(title: str, text: str, environ: Mapping[str, str]) -> bytes:
    """Return the escape sequences of a notification.

    Args:
        title: Its title.
        text: The news.
        environ: The environment of the program in that terminal.
    """
    title, text = (sanitize_line(part, LONGEST).replace(";", ",") for part in (title, text))
    escapes = [f"\x1b]777;notify;{title};{text}\x07"]
    if environ.get("TERM_PROGRAM") not in BOTH:
        escapes.insert(0, f"\x1b]9;{title}: {text}\x07")
    if environ.get("TMUX"):  # else tmux would take them for itself
        escapes = ["\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\" for sequence in escapes]
    return "".join(escapes).encode("utf-8", "replace")


def terminals(folder: Path) -> dict[str, Mapping[str, str]]:
    """Return the terminals of a run with the environments of the programs in them, as path -> environment."""
    by_path: dict[str, Mapping[str, str]] = {}
    for process in _programs(folder):
        with contextlib.suppress(psutil.Error, OSError):
            path = process.terminal()
            if path is not None and path not in by_path:
                by_path[path] = process.environ()
    return by_path


def _programs(folder: Path) -> Iterator[psutil.Process]:
    """Yield the apps of the user that show a run, and the process that has started this one: its loop."""
    yield psutil.Process(os.getppid())
    place = os.path.realpath(folder)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            command_line = process.cmdline()
            if APP not in command_line or process.uids().real != os.getuid():
                continue
            named = command_line[command_line.index(APP) + 1 :][:1]
            if any(os.path.realpath(os.path.join(process.cwd(), word)) == place for word in named):
                yield process


def _write(path: str, content: bytes) -> None:
    """Write to a terminal, without waiting for one that is stopped. Raises OSError."""
    terminal = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        os.write(terminal, content)
    finally:
        os.close(terminal)
