"""Start the user's editor."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from tui.system import foreground

TAKE_PLUS_LINE = (  # editors that open a file at line N with +N
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
)


class NoEditor(Exception):
    """The editor could not be started, or failed. The message is shown to the user."""


def editor_command() -> list[str]:
    """Return the command in $VISUAL or $EDITOR, or an installed editor. Raises NoEditor."""
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
    """Open a file and wait until the editor is closed. Raises NoEditor.

    Editors that support it open the file at `line`, counted from 1.
    """
    command = editor_command()
    position = [f"+{line}"] if line > 1 and Path(command[0]).name in TAKE_PLUS_LINE else []
    try:
        code = foreground.run([*command, *position, str(path)])
    except OSError as error:
        raise NoEditor(f"{command[0]} could not be started ({error.strerror}). Set EDITOR to another one.") from error
    if code:
        raise NoEditor(f"{command[0]} ended with code {code}.")
