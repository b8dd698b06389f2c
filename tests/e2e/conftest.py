"""A whole product in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import corpus
from tests.fake_cuda import make
from tests.product import Product, build


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small corpus and the folder of data prepared from it by the real prepare.py."""
    base = tmp_path_factory.mktemp("prepared")
    return corpus.write(base / "corpus"), base / "data"


@pytest.fixture
def product(tmp_path: Path, prepared: tuple[Path, Path]) -> Iterator[Product]:
    made = build(tmp_path, prepared)
    yield made
    end(made)


@pytest.fixture
def gpu_product(tmp_path: Path, prepared: tuple[Path, Path]) -> Iterator[Product]:
    """A product on a machine with one fake card of 8 GiB; `gpu_product.cards` changes it."""
    made = build(tmp_path, prepared, make(tmp_path / "cards"))
    yield made
    end(made)


def end(product: Product) -> None:
    """End what a test has started and left."""
    for process in product.started:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
