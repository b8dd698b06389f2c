"""What needs Ray. `make test-cluster` installs it and runs this; `make test` does not collect it.

Where Ray is missing, each test is skipped with the reason.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import corpus
from tests.product import Product, build

HERE = Path(__file__).resolve().parent
TIMEOUT_S = 400


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave this folder alone unless it, something in it or the mark `cluster` is asked for."""
    paths = [(config.invocation_params.dir / argument.split("::")[0]).resolve() for argument in config.args]
    asked = "cluster" in str(config.getoption("markexpr", "")) or any(path.is_relative_to(HERE) for path in paths)
    return None if asked else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = importlib.util.find_spec("ray") is None
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        item.add_marker(pytest.mark.cluster)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))
        if missing:
            item.add_marker(pytest.mark.skip(reason="needs Ray: python -m pip install -r requirements-ray.txt"))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small corpus and the folder of data prepared from it by the real prepare.py."""
    base = tmp_path_factory.mktemp("prepared")
    return corpus.write(base / "corpus"), base / "data"


@pytest.fixture
def product(tmp_path: Path, prepared: tuple[Path, Path]) -> Iterator[Product]:
    """A whole product in a temporary folder, whose nodes keep their files there."""
    made = build(tmp_path, prepared)
    made.env["AUTORESEARCH_CLUSTER"] = str(tmp_path / "cache")
    yield made
    for process in made.started:
        process.kill()
        process.wait()
