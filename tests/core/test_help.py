"""The help of the command line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("words", [[], ["run"], ["report"], ["doctor"]])
def test_a_flag_has_no_type_beside_it(words: list[str]) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "core.cli", *words, "--help"],
        env=os.environ | {"COLUMNS": "160", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "--help" in shown and "<bool>" not in shown
    assert words != ["run"] or ("<float>" in shown and "--headless" in shown), "other options have their types"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--budget", "5s"], "'5s' is not a number. Give it without a unit"),
        (["run", "--max-experiments", "ten"], "'ten' is not a whole number."),
        (["run", "--max-experiments", "2.5"], "'2.5' is not a whole number."),
        (["report", "--seeds", ""], "'' is not a whole number."),
    ],
)
def test_an_invalid_number_is_named(words: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "core.cli", *words],
        env=os.environ | {"COLUMNS": "200", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and said in " ".join(done.stderr.replace("│", "").split())
