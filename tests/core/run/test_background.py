"""The commands that the loop in the background and the app are started with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from core.run import background


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
