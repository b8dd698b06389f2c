"""What needs Ray. `make test-cluster` installs it and runs this; `make test` does not collect it.

Where Ray is missing, each test is skipped with the reason.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import optional
from tests.e2e.conftest import end, prepared  # noqa: F401
from tests.product import Product, build

HERE = Path(__file__).resolve().parent
TIMEOUT_S = 400


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave this folder alone unless it, something in it or the mark `cluster` is asked for."""
    return optional.is_ignored(HERE, "cluster", config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = importlib.util.find_spec("ray") is None
    reason = "needs Ray: python -m pip install -r requirements-ray.txt" if missing else ""
    optional.mark_items(items, HERE, "cluster", TIMEOUT_S, reason)


@pytest.fixture
def product(tmp_path: Path, prepared: tuple[Path, Path]) -> Iterator[Product]:  # noqa: F811
    """A whole product in a temporary folder, whose nodes keep their files there."""
    made = build(tmp_path, prepared)
    made.env["AUTORESEARCH_CLUSTER"] = str(tmp_path / "cache")
    yield made
    end(made)
