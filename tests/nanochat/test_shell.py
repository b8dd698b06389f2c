"""Commands in messages reach the program as they were meant, through make and through the shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from nanochat.contract import shell

NAMES = [
    "plain.txt", "a b.txt", "it's.txt", 'say "hi".txt', "$HOME.txt", "$$.txt", "`id`.txt", "a;b&c|d.txt", "*.txt", "~/x.txt",
    "back\\slash.txt", "#hash.txt", "日本.txt", "50%.txt", "a=b.txt", "line\nend.txt", "tab\tö'\u2028.txt", "{a,b}.txt", "!x.txt",
    "$(id).txt", "", "(x)<y>.txt",
]  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Programs that print their arguments, each with a null byte behind it."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    program = tmp_path / ".venv" / "bin" / "python"
    program.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    program.chmod(0o755)
    (tmp_path / "Makefile").write_text("SHELL := /bin/bash\nARGS ?=\nprepare run:\n\t@.venv/bin/python $@.py $(ARGS)\n")
    return tmp_path


def test_what_is_printed_can_be_pasted(checkout: Path) -> None:
    line = "; ".join(shell.make("prepare", "--dataset", f"text:/x/{name}", "--vocab", "320")[1:-1] for name in NAMES)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["bash", "-c", line], cwd=checkout, env=environment, capture_output=True, check=True)
    words = done.stdout.decode().split("\0")[:-1]
    assert words == [
        word for name in NAMES for word in ("prepare.py", "--dataset", f"text:/x/{name}", "--vocab", "320")
    ]


def test_commands_of_plain_words_go_through_make() -> None:
    assert shell.make("run") == "`make run`"
    assert shell.make("stop", "night") == "`make stop ARGS=night`"
    assert shell.make("run", "--name", "NEW") == "`make run ARGS='--name NEW'`"
    assert shell.make("stop", "a b") == "`.venv/bin/python -m core.cli stop 'a b'`"
