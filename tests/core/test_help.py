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
