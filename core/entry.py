"""Set-up and error handling that all programs share: streams, environment variables and error messages."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
import threading
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from core.errors import told

# Variables that are meant for other Python programs, and would also affect this one and its children.
FOR_ANOTHER_PYTHON = ("PYTHONSAFEPATH", "PYTHONWARNINGS", "PYTHONOPTIMIZE", "PYTHONINSPECT", "PYTHONPLATLIBDIR")
# Prefixes of the user's general settings for git, and the user's name and address. Other GIT_ variables name a repository or an
# index, as git sets them for hooks.
OF_GIT_AS_A_WHOLE = (
    "GIT_CONFIG",
    "GIT_EXEC_PATH",
    "GIT_TEMPLATE_DIR",
    "GIT_SSL",
    "GIT_SSH",
    "GIT_PROXY",
    "GIT_ASKPASS",
    "GIT_AUTHOR_NAME",
    "GIT_AUTHOR_EMAIL",
    "GIT_COMMITTER_NAME",
    "GIT_COMMITTER_EMAIL",
)
READABLE = "autoresearch.readable"  # the name of the handler below
PLAIN = str.maketrans({
    "·": "-", "•": "*", "∙": "-", "→": "->", "←": "<-", "↑": "^", "↓": "v", "…": "...", "–": "-", "—": "-", "−": "-", "×": "x",
    "±": "+/-", "≈": "~", "≤": "<=", "≥": ">=", "≠": "!=", "σ": "sigma", "Δ": "delta", "²": "2", "’": "'", "‘": "'", "“": '"',
    "”": '"', "✓": "+", "✗": "x", "●": "*", "○": "o", "■": "#", "█": "#", "░": ".", "▶": ">", "◀": "<", "▲": "^", "▼": "v",
    "ß": "ss", "æ": "ae", "ø": "o", "ł": "l", "°": " deg", "µ": "u",
})  # fmt: skip


_stuck = threading.Event()  # set when a library has threads that cannot be ended


def end_without_cleanup() -> None:
    """Make `program` end the process without the interpreter's own clean-up, in which stuck threads of a library would crash."""
    _stuck.set()


@contextlib.contextmanager
def program(folder: Callable[[], Path | None] = lambda: None) -> Iterator[None]:
    """Run the body as a program: an exception becomes a message on stderr and exit code 1.

    Args:
        folder: Returns the folder for the traceback of a bug. Only called when there is one.
    """
    code: object = None
    try:
        with _explaining(folder):
            yield
    except SystemExit as ended:
        code = ended.code
        if not _stuck.is_set():
            raise
    if _stuck.is_set():
        discard_output()
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr, flush=True)
            code = 1
        os._exit(code or 0)


@contextlib.contextmanager
def _explaining(folder: Callable[[], Path | None]) -> Iterator[None]:
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
    """Open /dev/null on each of the descriptors 0, 1 and 2 that is closed.

    Otherwise a file opened later could get such a number, and printed text would go into that file.
    """
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
    """Make a stream print characters that its encoding lacks as similar ones, instead of raising UnicodeEncodeError."""
    codecs.register_error(READABLE, _likeness)
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors=READABLE)


def _likeness(error: UnicodeError) -> tuple[str | bytes, int]:
    """Error handler for codecs. A character with no similar one is written as a backslash escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = ""
    for character in error.object[error.start : error.end]:
        plain = character.translate(PLAIN)
        if not plain.isascii():
            plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
        if not plain and "\u2500" <= character <= "\u257f":  # lines of boxes
            plain = "|" if character in "│┃║╎╏┆┇┊┋" else "-" if character in "─━═╌╍┄┅┈┉" else "+"
        if not plain and 0xDC80 <= ord(character) <= 0xDCFF:  # an undecodable byte of a path
            plain = f"\\x{ord(character) - 0xDC00:02x}"
        text += plain or character.encode("ascii", "backslashreplace").decode()
    return text, error.end


def clean_environment() -> None:
    """Remove environment variables that would change how child processes of Python and git work."""
    if os.environ.get("PYTHONWARNINGS"):
        warnings.simplefilter("ignore")
    for name in list(os.environ):
        git = name.startswith("GIT_") and not name.startswith(OF_GIT_AS_A_WHOLE)
        if git or name in FOR_ANOTHER_PYTHON:
            del os.environ[name]


def flush() -> None:
    """Flush stdout. A closed pipe is ignored. Raises OSError for other failures."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()


def discard_output() -> None:
    """Redirect stdout to /dev/null if it cannot be written, so that the exit of the program does not fail."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
