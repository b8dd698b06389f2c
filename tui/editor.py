"""The user's editor on a file, while the app stands aside."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path


class NoEditor(Exception):
    """It could not be started; the message is a sentence."""


def command() -> list[str]:
    """$VISUAL, $EDITOR, or what is usually there. Raises NoEditor."""
    for name in ("VISUAL", "EDITOR"):
        if words := shlex.split(os.environ.get(name, "")):
            return words
    for program in ("nano", "vim", "vi"):
        if shutil.which(program):
            return [program]
    raise NoEditor("No editor was found. Set EDITOR, for example: export EDITOR=nano")


def edit(path: Path) -> None:
    """Open the file and wait until it is closed. Raises NoEditor."""
    words = command()
    try:
        code = subprocess.run([*words, str(path)]).returncode
    except OSError as error:
        raise NoEditor(f"{words[0]} could not be started ({error.strerror}). Set EDITOR to another one.") from error
    if code:
        raise NoEditor(f"{words[0]} ended with code {code}; the text is left as it was, in {path}.")
