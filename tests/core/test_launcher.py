"""`make install`: the command `autoresearch`."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from core import launcher
from core.machine.project import UsageError

ROOT = Path(__file__).resolve().parents[2]


def test_it_starts_this_tree_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my programs" / "bin"
    monkeypatch.setenv("PATH", f"/usr/bin:{folder}")
    said = launcher.install(ROOT, folder)
    assert said == f"`autoresearch` now starts {ROOT}: {folder}/autoresearch."
    elsewhere = tmp_path / "core"  # a folder of that name beside it must not be imported
    elsewhere.mkdir()
    (elsewhere / "cli.py").write_text("raise SystemExit('the wrong one')")
    done = subprocess.run(
        [folder / "autoresearch", "runs", "--logs", str(tmp_path / "logs")], cwd=tmp_path, capture_output=True, text=True
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "") and "There is no run in" in done.stdout
    assert [path.name for path in folder.iterdir()] == ["autoresearch"]


def test_in_another_source_tree_it_starts_that_one(tmp_path: Path) -> None:
    launcher.install(ROOT, tmp_path)
    other = tmp_path / "other tree"
    for name in ("core", ".venv/bin", "logs/night"):
        (other / name).mkdir(parents=True)
    (other / "core" / "launcher.py").write_text("")
    (other / ".venv" / "bin" / "python").write_text('#!/bin/sh\necho "$PYTHONHOME" "$4" "$5"\n')
    (other / ".venv" / "bin" / "python").chmod(0o755)
    done = subprocess.run(
        [tmp_path / "autoresearch", "status"], cwd=other / "logs" / "night", env={"PATH": "/usr/bin:/bin", "PYTHONHOME": "/nowhere"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == f" {other} status\n", done


def test_again_and_for_another_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin")
    first = launcher.install(tmp_path / "a")
    assert first.endswith(
        f"is not on your PATH. Add this line to the start-up file of your shell (~/.profile, ~/.zprofile): export PATH={tmp_path}/.local/bin:$PATH"
    )
    assert launcher.install(tmp_path / "a") == first
    assert "It started another source tree before." in launcher.install(tmp_path / "b")
    assert str(tmp_path / "b") in (tmp_path / ".local" / "bin" / "autoresearch").read_text()


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    own = tmp_path / "autoresearch"
    own.write_text("#!/bin/sh\necho mine\n")
    with pytest.raises(UsageError, match=r"was not written by `make install`\. Nothing was changed"):
        launcher.install(ROOT, tmp_path)
    assert own.read_text() == "#!/bin/sh\necho mine\n"
    own.unlink()
    own.mkdir()
    with pytest.raises(UsageError, match=r"cannot be written \(Is a directory\)\. Nothing was changed"):
        launcher.install(ROOT, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be written .*Name another folder with --folder"):
        launcher.install(ROOT, tmp_path / "file")


def test_the_shell_completes_commands(tmp_path: Path) -> None:
    environment = {
        "PATH": "/usr/bin",
        "_AUTORESEARCH_COMPLETE": "complete_bash",
        "COMP_WORDS": "autoresearch st",
        "COMP_CWORD": "1",
    }
    launcher.install(ROOT, tmp_path)
    done = subprocess.run([tmp_path / "autoresearch"], env=environment, capture_output=True, text=True)
    assert {"status", "stop"} <= set(done.stdout.split()), (done, sys.executable)


def environment(place: Path) -> Path:
    """Make a virtual environment that finds the packages of this one, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "packages.pth").write_text(sysconfig.get_path("purelib"))
    return place / "bin" / "python"


def test_the_environment_has_the_command(tmp_path: Path) -> None:
    python = environment(tmp_path / "v")
    command = python.with_name("autoresearch")
    for _ in range(2):  # the second time it is there already
        done = subprocess.run([python, "-m", "core.launcher"], cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    shown = subprocess.run(
        [command, "runs", "--logs", str(tmp_path / "logs")], cwd=tmp_path, capture_output=True, text=True
    )
    assert (shown.returncode, shown.stderr) == (0, "") and "There is no run in" in shown.stdout
    command.write_text("#!/bin/sh\necho by pip\n")
    os.utime(command, (0, 0))
    done = subprocess.run([python, "-m", "core.launcher"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr, command.read_text()) == (0, "", "#!/bin/sh\necho by pip\n")
    assert command.stat().st_mtime > 0, "make does not write it again each time"
