"""The user's editor on a file, while the app stands aside."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

PLUS_LINE = (
    "vi",
    "vim",
    "nvim",
    "nano",
    "pico",
    "emacs",
    "emacsclient",
    "micro",
    "joe",
    "ne",
    "jed",
    "kak",
    "mcedit",
)  # +N


class NoEditor(Exception):
    """It could not be started; the message is a sentence."""


def command() -> list[str]:
    """$VISUAL, $EDITOR, or what is usually there. Raises NoEditor."""
    for name in ("VISUAL", "EDITOR"):
        try:
            words = shlex.split(os.environ.get(name, ""))
        except ValueError as error:
            raise NoEditor(f"{name} cannot be read ({error}). Set it to an editor, for example: nano") from error
        if words:
            return words
    for program in ("nano", "vim", "vi"):
        if shutil.which(program):
            return [program]
    raise NoEditor("No editor was found. Set EDITOR, for example: export EDITOR=nano")


def edit(path: Path, line: int = 1) -> None:
    """Open the file, where the editor can at a line (from 1), and wait until it is closed. Raises NoEditor."""
    words = command()
    at = [f"+{line}"] if line > 1 and Path(words[0]).name in PLUS_LINE else []
    before = {  # such keys mean the editor, not who waits for it
        number: signal.signal(number, lambda number, frame: None) for number in (signal.SIGINT, signal.SIGQUIT)
    }
    try:
        code = subprocess.run([*words, *at, str(path)]).returncode
    except OSError as error:
        raise NoEditor(f"{words[0]} could not be started ({error.strerror}). Set EDITOR to another one.") from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if code:
        raise NoEditor(f"{words[0]} ended with code {code}.")
