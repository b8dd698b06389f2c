"""What every program here does first and last: usable streams, an environment that misleads nobody, and errors in words."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from core.errors import told

# Variables that were set for another Python program than this one and those that it starts.
FOR_ANOTHER_PYTHON = ("PYTHONSAFEPATH", "PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONINSPECT", "PYTHONPLATLIBDIR")
# What the user says about git as a whole; all else that begins with GIT_ names a repository, an index or an author of the moment,
# as git's own hooks do.
OF_GIT_AS_A_WHOLE = (
    "GIT_CONFIG",
    "GIT_EXEC_PATH",
    "GIT_TEMPLATE_DIR",
    "GIT_SSL",
    "GIT_SSH",
    "GIT_PROXY",
    "GIT_ASKPASS",
)
READABLE = "autoresearch.readable"  # the name of the handler below
PLAIN = str.maketrans({
    "·": "-", "•": "*", "∙": "-", "→": "->", "←": "<-", "↑": "^", "↓": "v", "…": "...", "–": "-", "—": "-", "−": "-", "×": "x",
    "±": "+/-", "≈": "~", "≤": "<=", "≥": ">=", "≠": "!=", "σ": "sigma", "Δ": "delta", "²": "2", "’": "'", "‘": "'", "“": '"',
    "”": '"', "✓": "+", "✗": "x", "●": "*", "○": "o", "■": "#", "█": "#", "░": ".", "▶": ">", "◀": "<", "▲": "^", "▼": "v",
    "ß": "ss", "æ": "ae", "ø": "o", "ł": "l", "°": " deg", "µ": "u",
})  # fmt: skip


@contextlib.contextmanager
def program(folder: Callable[[], Path | None] = lambda: None) -> Iterator[None]:
    """Run a program: whatever it raises becomes words on stderr and exit code 1, a bug with its traceback in a file.

    `folder`: where that file goes; asked for only then.
    """
    open_streams()
    for stream in (sys.stdout, sys.stderr):
        make_readable(stream)
    clean_environment()
    try:
        try:
            yield
        finally:
            flush()
    except Exception as error:
        place = None
        with contextlib.suppress(Exception):
            place = folder()
        with contextlib.suppress(OSError, ValueError):
            print(told(error, place), file=sys.stderr, flush=True)
        discard_output()
        sys.exit(1)


def open_streams() -> None:
    """Open those of the descriptors 0, 1 and 2 that are closed on nothing: a file opened later would take such a number, and what is
    printed would go into it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            while (opened := os.open(os.devnull, os.O_RDWR)) < number:
                pass
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            stream = open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)


def make_readable(stream: TextIO) -> None:
    """Let a stream in a poorer alphabet print what it lacks as its nearest likeness, and never fail for it."""
    codecs.register_error(READABLE, _likeness)
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors=READABLE)


def _likeness(error: UnicodeError) -> tuple[str | bytes, int]:
    """An error handler of codecs. What is like nothing is written as its number."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = ""
    for character in error.object[error.start : error.end]:
        plain = character.translate(PLAIN)
        if not plain.isascii():
            plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
        if not plain and "\u2500" <= character <= "\u257f":  # lines of boxes
            plain = "|" if character in "│┃║╎╏┆┇┊┋" else "-" if character in "─━═╌╍┄┅┈┉" else "+"
        if not plain and 0xDC80 <= ord(character) <= 0xDCFF:  # a byte of a path that is no text
            plain = f"\\x{ord(character) - 0xDC00:02x}"
        found += plain or character.encode("ascii", "backslashreplace").decode()
    return found, error.end


def clean_environment() -> None:
    """Drop variables that would mislead this program's own children: Python and git."""
    if os.environ.get("PYTHONWARNINGS"):
        warnings.simplefilter("ignore")
    for name in list(os.environ):
        git = name.startswith("GIT_") and not name.startswith(OF_GIT_AS_A_WHOLE)
        if git or name in FOR_ANOTHER_PYTHON:
            del os.environ[name]


def flush() -> None:
    """Write what was printed. Raises OSError where that cannot be; who reads no more is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()


def discard_output() -> None:
    """Stdout that cannot be written goes to nowhere from now on, so that the end of the program does not fail for it."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
