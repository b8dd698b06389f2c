"""A whole product in a temporary folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.product import ROOT, TRAIN, Product


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small corpus and the folder of data prepared from it by the real prepare.py."""
    base = tmp_path_factory.mktemp("prepared")
    corpus = base / "corpus"
    corpus.mkdir()
    for path in sorted((ROOT / "core").glob("*.py")) + sorted((ROOT / "nanochat").glob("*.py")):
        shutil.copyfile(path, corpus / f"{path.parent.name}_{path.name}")
    return corpus, base / "data"


@pytest.fixture
def product(tmp_path: Path, prepared: tuple[Path, Path]) -> Iterator[Product]:
    corpus, data = prepared
    root = tmp_path / "product"
    (root / "nanochat").mkdir(parents=True)
    for path in (ROOT / "nanochat").glob("*.py"):
        shutil.copyfile(path, root / "nanochat" / path.name)
    (root / "nanochat" / "train.py").write_text(TRAIN)
    (root / "program.md").write_text("# Aim\n\nLowest val_bpb. Worth trying: the schedule.\n")
    shutil.copyfile(ROOT / "prepare.py", root / "prepare.py")
    (root / ".gitignore").write_text("logs/\n__pycache__/\nideas.jsonl\n")
    env = {**os.environ, "AUTORESEARCH_DATA": str(data), "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    made = Product(root, env, corpus)
    made.git("init", "-q", "-b", "main")
    made.git("add", ".")
    made.git("-c", "user.name=u", "-c", "user.email=u@x", "commit", "-qm", "first")
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
