"""The help of the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from core import cli


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
        (["run", "--max-experiments", "0"], "0 is out of range; it must be at least 1."),
        (["run", "--max-hours", "-1"], "-1 is out of range; it must be at least 0."),
        (["sample", "--tokens", "99999"], "99999 is out of range; it must be at most 10000."),
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


@pytest.mark.parametrize(
    "command", ["status", "notebook", "hints", "stop", "attach", "apply", "report", "export", "sample"]
)
@pytest.mark.parametrize("words", [("nowhere",), ("--run", "nowhere"), ("--run=nowhere",)])
def test_a_run_is_named_with_or_without_an_option(
    command: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, *words, "--logs", str(tmp_path)])
    assert ended.value.code == 1 and "There is no run called nowhere" in capsys.readouterr().err


def test_a_hint_without_quotes_is_refused_with_the_right_command(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["hint", "hello", "world", "--logs", str(tmp_path)])
    assert ended.value.code == 1
    assert "The hint needs quotes: `autoresearch hint 'hello world'`" in capsys.readouterr().err


def test_no_hours_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "--headless", "--max-hours", "0", "--logs", str(tmp_path)])
    assert ended.value.code == 1 and "--max-hours 0 would end the run before" in capsys.readouterr().err
