"""The commands that the loop in the background and the app are started with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.record import journal
from core.run import background

ROOT = Path(__file__).resolve().parents[3]
STARTER = "import sys; from pathlib import Path; from core.run import background as b; b.__file__, b.END_S = sys.argv[1], 1.0; "


@pytest.mark.parametrize("name", ["a:b", "with space", "-c", "ö'\"$(x)"])
def test_a_source_tree_of_any_path_is_found_from_any_folder(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, here = tmp_path / name, tmp_path / "here"
    for folder in (tree, here):
        (folder / "core").mkdir(parents=True)
    (tree / "core" / "cli.py").write_text("import sys\nprint(sys.argv[1:], __name__)\n")
    (here / "core" / "cli.py").write_text("raise SystemExit('not this one')\n")
    (here / "sys.py").touch()
    (here / "runpy.py").touch()
    monkeypatch.setattr(background, "__file__", str(tree / "core" / "run" / "background.py"))
    command = background.module("core.cli", "--run", "x")
    done = subprocess.run(command, cwd=here, capture_output=True, text=True)
    assert done.stdout == "['--run', 'x'] __main__\n", done.stderr


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def interrupted(tmp_path: Path, loop: str) -> tuple[int, str, bool]:
    """Press Ctrl-C while a loop starts whose program is `loop`. Returns exit code, output, and whether the loop is left."""
    (tmp_path / "tree" / "core").mkdir(parents=True)
    begun = tmp_path / "begun"
    (tmp_path / "tree" / "core" / "cli.py").write_text(
        f"import os, signal, time\nfrom pathlib import Path\n{loop}\nPath({str(begun)!r} + '.new').write_text(str(os.getpid()))\n"
        f"os.replace({str(begun)!r} + '.new', {str(begun)!r})\ntime.sleep(100)\n"
    )
    starting = f"{STARTER}b.background(Path(sys.argv[2]), [])"
    words = [
        sys.executable,
        "-c",
        starting,
        str(tmp_path / "tree/core/run/background.py"),
        str(tmp_path / "logs" / "night"),
    ]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until(begun.exists)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    pid = int(begun.read_text())
    left = True
    try:
        os.kill(pid, 0)
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        left = False
    return process.returncode, output.strip(), left


@pytest.mark.parametrize("loop", ["", "signal.signal(signal.SIGINT, signal.SIG_IGN)"])
def test_ctrl_c_ends_a_loop_that_is_starting(tmp_path: Path, loop: str) -> None:
    code, output, left = interrupted(tmp_path, loop)
    assert (code, left) == (130, False), output
    assert output == "Interrupted. The loop that was starting has been ended; no run was begun."
    assert not (tmp_path / "logs" / "night").exists()


def test_ctrl_c_keeps_a_run_that_was_there(tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "night"
    folder.mkdir(parents=True)
    (folder / journal.NAME).write_text("what the run has recorded\n")
    code, output, left = interrupted(tmp_path, "")
    assert (code, left) == (130, False), output
    assert "The run is kept; `make run ARGS='--name night'` continues it." in output
    assert (folder / journal.NAME).exists() and (folder / background.LOG).exists()
