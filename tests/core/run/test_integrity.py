"""The copies a run works with: made once, sealed, and every change of them noticed."""

from __future__ import annotations

import importlib.machinery
import json
import os
import py_compile
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.execution.local import LAUNCH
from core.machine.project import UsageError
from core.run import integrity
from core.run.integrity import IntegrityCheck, TamperedError, freeze


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source, data, run = tmp_path / "tree", tmp_path / "data", tmp_path / "run"
    (source / "nanochat" / "__pycache__").mkdir(parents=True)
    (source / "nanochat" / "scorer.py").write_text("score = 1\n")
    (source / "nanochat" / "train.py").write_text("mine = 1\n")
    data.mkdir()
    (data / "val.bin").write_bytes(b"secret")
    run.mkdir()
    freeze(source, data, run)
    return run


def test_the_copies_hold_the_harness_and_the_data_but_not_train_py(folder: Path) -> None:
    assert sorted(path.name for path in (folder / "harness" / "nanochat").iterdir()) == ["scorer.py"]
    assert (folder / "data" / "val.bin").read_bytes() == b"secret"


def test_a_new_file_time_alone_does_not_count_as_a_change(folder: Path) -> None:
    seal = IntegrityCheck(folder)
    seal.check()
    os.utime(folder / "data" / "val.bin", (1, 1))
    seal.check()


@pytest.mark.parametrize("harm", ["alter", "remove", "replace", "folder", "data"])
def test_every_change_is_noticed(folder: Path, harm: str) -> None:
    seal = IntegrityCheck(folder)
    path = folder / "harness" / "nanochat" / "scorer.py"
    time.sleep(0.02)  # some file systems count time in such steps
    if harm == "alter":
        path.write_text("score = 0\n")
    elif harm == "data":
        (folder / "data" / "val.bin").write_bytes(b"secreT")
    elif harm == "replace":
        (folder / "other.py").write_text("score = 2\n")
        (folder / "other.py").rename(path)
    else:
        path.unlink()
        if harm == "folder":
            path.mkdir()
    for seen in (seal.check, lambda: IntegrityCheck(folder)):  # by the loop, and by the next one
        with pytest.raises(TamperedError, match=r"not counted.*--from run"):
            seen()


FOREIGN = (
    ".DS_Store", "4913", ".scorer.py.swp", "#scorer.py#", "._scorer.py", "__pycache__/scorer.cpython-312.pyc", "desktop.ini",
    "scorer.py~", "scorer.py.orig", ".#scorer.py", "Thumbs.db", ".nfs0001", "scorer.so", "scorer.abi3.so", "scorer/__init__.py",
    "extra.py", "scorer (copy).py", "scorer.pyc", ".ipynb_checkpoints/scorer.py", ".git/config", "val.bin.part", "._val.bin",
)  # fmt: skip


def put(place: Path, name: str) -> Path:
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == ".#scorer.py":
        path.symlink_to("ada@host.1234:567")  # as Emacs marks a file that is edited
    else:
        path.write_text("foreign")
    return path


@pytest.mark.parametrize("name", FOREIGN)
def test_what_others_leave_beside_the_copies_does_not_matter(folder: Path, name: str) -> None:
    before = [put(folder / place, name) for place in ("harness", "harness/nanochat", "data")]
    seal = IntegrityCheck(folder)
    for path in before:
        path.unlink()
    seal.check()
    for place in ("harness", "harness/nanochat", "data"):
        put(folder / place, name)
    seal.check()
    IntegrityCheck(folder).check()


@pytest.mark.parametrize("name", [name for name in FOREIGN if name not in ("extra.py", "scorer/__init__.py")])
def test_what_others_left_in_the_tree_is_not_copied(tmp_path: Path, folder: Path, name: str) -> None:
    put(tmp_path / "tree" / "nanochat", name)
    put(tmp_path / "data", name)
    freeze(tmp_path / "tree", tmp_path / "data", folder, anew=True)
    found = sorted(path.name for part in ("harness", "data") for path in (folder / part).rglob("*") if path.is_file())
    assert found == ["scorer.py", "val.bin"]


def test_a_run_of_the_version_before_has_no_list_and_gets_one(folder: Path) -> None:
    (folder / integrity.LIST).unlink()
    put(folder / "data", ".DS_Store")
    IntegrityCheck(folder).check()
    assert sorted(json.loads((folder / integrity.LIST).read_text())) == [
        "data/val.bin",
        "harness/nanochat/scorer.py",
    ]


def launch(folder: Path, code: str, *arguments: str) -> str:
    """What `code` prints where it runs with the run's copy of the package."""
    command = [sys.executable, "-P", "-c", LAUNCH, str(folder / "harness"), *(arguments or ("-c", code))]
    return subprocess.run(
        command, cwd=folder / "harness", capture_output=True, text=True, check=True, env={"PATH": ""}
    ).stdout


SHOW = "import json, nanochat.scorer as s, os; print(s.score, os.path.basename(s.__file__), json.__name__, hasattr(json, 'loads'))"


def test_nothing_beside_a_copy_is_imported_in_its_place(tmp_path: Path, folder: Path) -> None:
    """A library, a package, compiled modules that say they fit, and whole modules of the standard library's names."""
    (tmp_path / "tree" / "nanochat" / "__init__.py").touch()
    freeze(tmp_path / "tree", tmp_path / "data", folder, anew=True)
    package = folder / "harness" / "nanochat"
    source = package / "scorer.py"
    true = os.stat(source)
    source.write_text("score = 9\n")
    os.utime(source, ns=(true.st_atime_ns, true.st_mtime_ns))
    compiled = Path(py_compile.compile(str(source), doraise=True) or "")
    source.write_text("score = 1\n")
    os.utime(source, ns=(true.st_atime_ns, true.st_mtime_ns))
    lying = subprocess.run(
        [sys.executable, "-c", SHOW], cwd=folder / "harness", capture_output=True, text=True, check=True
    )
    assert lying.stdout.startswith("9 "), "it would have been imported"
    assert launch(folder, SHOW) == "1 scorer.py json True\n"
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        (package / f"scorer{suffix}").write_bytes(b"no library")
    (package / "scorer.pyc").write_bytes(compiled.read_bytes())
    for name in (
        "nanochat/scorer/__init__.py",
        "json.py",
        "os.py",
        "sitecustomize.py",
        "usercustomize.py",
        "nanochat.py",
    ):
        put(folder / "harness", name).write_text("score, raised = 7, 1 / 0\n")
    assert launch(folder, SHOW) == "1 scorer.py json True\n"
    put(package, "extra.py").write_text("")
    source.unlink()
    for name in ("scorer", "extra"):
        code = f"try: import nanochat.{name}\nexcept ImportError as error: print('none')\nexcept OSError: print('none')"
        assert launch(folder, code) == "none\n"


def test_another_python_is_started_with_the_same_copy(folder: Path, tmp_path: Path) -> None:
    """As where forking is unsafe."""
    root = Path(__file__).resolve().parents[3]
    freeze(root, tmp_path / "data", folder, anew=True)
    show = "import sys, nanochat.harness.wire as w; print(w.__file__, sys.argv[1:])"
    code = f"import subprocess\nfrom nanochat.harness.processes import python\nsubprocess.run(python({show!r}, 'a b', 'c'), check=True)"
    put(folder / "harness/nanochat/harness", "wire.so")
    assert launch(folder, code) == f"{folder / 'harness/nanochat/harness/wire.py'} ['a b', 'c']\n"


def test_large_files_are_linked_not_copied(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity, "COPY_LIMIT", 3)
    other = tmp_path / "other"
    other.mkdir()
    freeze(tmp_path / "tree", tmp_path / "data", other)
    assert (other / "data" / "val.bin").is_symlink() and (other / "data" / "val.bin").read_bytes() == b"secret"
    seal = IntegrityCheck(other)
    (tmp_path / "data" / "val.bin").write_bytes(b"other!")
    with pytest.raises(TamperedError):
        seal.check()


def test_a_run_without_copies_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lacks the copies"):
        IntegrityCheck(tmp_path)
