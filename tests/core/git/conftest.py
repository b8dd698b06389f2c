"""Source trees without git and with it, away from the settings of whoever runs the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.git.source_tree import TRAIN
from tests.core.git.checkouts import OLD, git


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No git settings but a test's own: no user.name, no default branch."""
    home = tmp_path / "home"
    home.mkdir()
    for name in [name for name in os.environ if name.startswith("GIT_") or name == "EMAIL"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree without git."""
    root = tmp_path / "project"
    (root / "nanochat").mkdir(parents=True)
    (root / TRAIN).write_text(OLD)
    (root / "README.md").write_text("read me\n")
    (root / "odd näme\tx.txt").write_text("odd\n")
    return root


@pytest.fixture
def checkout(tree: Path) -> Path:
    """The same under git, with one commit."""
    git(tree, "init", "-q", "-b", "main")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "first")
    return tree
