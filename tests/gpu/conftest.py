"""What can only be tested on a CUDA card. `make test-gpu` runs it; `make test` does not collect it.

Without a card each test is skipped with the reason, and torch is not imported for that. `pytest tests/gpu --device cpu` runs
those tests that make sense on a CPU by the same code, so that they can be tried without a card.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import stats
from core.project import lacking
from tests.gpu.support import Corpus, DeviceHarness, corpus_of_this_machine
from tests.product import Product, build

HERE = Path(__file__).resolve().parent
TIMEOUT_S = 180


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: try the tests of tests/gpu without a card"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave this folder alone unless it, something in it or the mark `gpu` is asked for."""
    asked = "gpu" in str(config.getoption("markexpr", "")) or any(
        (config.invocation_params.dir / argument.split("::")[0]).resolve().is_relative_to(HERE)
        for argument in config.args
    )
    return None if asked else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reason = why_skipped(_device(config))
    for item in items:
        if not item.path.is_relative_to(HERE):
            continue
        item.add_marker(pytest.mark.gpu)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def why_skipped(device: str) -> str:
    """Why tests on this device cannot run here; '' when they can."""
    lack = lacking("cuda", len(stats.gpu_memory())) if device == "cuda" else ""
    return f"needs a CUDA card: {lack}" if lack else ""


def _device(config: pytest.Config) -> str:
    return str(config.getoption("--device", "cuda"))


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """The device under test: cuda, or cpu to try the tests themselves."""
    return _device(request.config)


@pytest.fixture(scope="session")
def card(device: str) -> str:
    """For tests of what a CPU does not have."""
    if device != "cuda":
        pytest.skip("needs the card itself")
    return device


@pytest.fixture(scope="session")
def gpu_harness(tiny_data: Path, device: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceHarness]:
    """One fork server for all tests: what one experiment breaks, the next would notice."""
    made = DeviceHarness(tiny_data, tmp_path_factory.mktemp("jobs"), device)
    yield made
    made.close()


@pytest.fixture(scope="session")
def corpus(device: str, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Prepared data with the vocabulary of the GPU profiles; a tiny one for a CPU."""
    return corpus_of_this_machine(tmp_path_factory.mktemp("corpus"), device)


@pytest.fixture
def gpu_product(tmp_path: Path, corpus: Corpus) -> Iterator[Product]:
    """A whole product in a temporary folder, on the data of `corpus`."""
    made = build(tmp_path, (corpus.text, corpus.data))
    yield made
    for process in made.started:
        process.kill()
        process.wait()


def pytest_report_header(config: pytest.Config) -> list[str]:
    gpus: list[Any] = stats.gpus()
    return [f"card: {gpu.name}, {(gpu.memory_total or 0) / 2**30:.1f} GiB" for gpu in gpus]
