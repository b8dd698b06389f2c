"""Format commands in messages so that a user can paste them into a shell."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

PROGRAMS = {"run": "autorun.py", "prepare": "prepare.py"}  # targets of the Makefile; other targets start core.cli


def quoted(words: Sequence[str]) -> str:
    """Return the words of a command as one line for bash or zsh."""
    return " ".join(_quoted(word) for word in words)


def make(target: str, *words: str) -> str:
    """Return the command, in backticks, that runs a target of the Makefile with these options.

    A word that needs quotes would need them twice, and make expands `$`. In that case the command does not use make.
    """
    if any(_quoted(word) != word for word in words):
        program = [PROGRAMS[target]] if target in PROGRAMS else ["-m", "core.cli", target]
        return f"`.venv/bin/python {quoted([*program, *words])}`"
    if len(words) > 1:
        return f"`make {target} ARGS='{' '.join(words)}'`"
    return f"`make {target}{''.join(f' ARGS={word}' for word in words)}`"


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    return (
        "$'"
        + "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"\\x{byte:02x}" for byte in os.fsencode(word))
        + "'"
    )
