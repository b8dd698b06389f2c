"""A text to prepare, and a repository with the shipped train.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.git.repository import Repository
from tests.core.run.runs import SHIPPED


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    (tmp_path / "nanochat").mkdir()
    (tmp_path / "nanochat" / "train.py").write_text(SHIPPED)
    return Repository.open(tmp_path, tmp_path / "private")


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTORESEARCH_DATA", str(tmp_path / "data"))
    path = tmp_path / "corpus.txt"
    path.write_text("".join(f"word {i} and {i * i}\n" for i in range(9000)))
    return path
