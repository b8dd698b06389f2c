"""The copies a run works with: made once, sealed, and every change of them noticed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from core import frozen
from core.frozen import Changed, Seal, freeze
from core.project import UsageError


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


def test_untouched_copies_pass_and_a_new_time_alone_is_no_change(folder: Path) -> None:
    seal = Seal(folder)
    seal.check()
    os.utime(folder / "data" / "val.bin", (1, 1))
    seal.check()


@pytest.mark.parametrize("harm", ["alter", "add", "remove"])
def test_every_change_is_noticed(folder: Path, harm: str) -> None:
    seal = Seal(folder)
    path = folder / "harness" / "nanochat" / "scorer.py"
    time.sleep(0.02)  # some file systems count time in such steps
    if harm == "alter":
        path.write_text("score = 0\n")
    elif harm == "add":
        (path.parent / "extra.py").write_text("")
    else:
        path.unlink()
    with pytest.raises(Changed, match="not counted"):
        seal.check()


def test_large_files_are_linked_not_copied(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen, "COPY_LIMIT", 3)
    other = tmp_path / "other"
    other.mkdir()
    freeze(tmp_path / "tree", tmp_path / "data", other)
    assert (other / "data" / "val.bin").is_symlink() and (other / "data" / "val.bin").read_bytes() == b"secret"
    seal = Seal(other)
    (tmp_path / "data" / "val.bin").write_bytes(b"other!")
    with pytest.raises(Changed):
        seal.check()


def test_a_run_without_copies_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="lacks the copies"):
        Seal(tmp_path)
