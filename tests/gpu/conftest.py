"""What can only be tested on a CUDA card. `make test-gpu` runs it; `make test` does not collect it.

Without a card each test is skipped with the reason, and torch is not imported for that. To try the tests themselves without
one, `pytest tests/gpu --device cpu` runs on the CPU what makes sense there, and `--device fake` what tests/fake_cuda.py can do.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.machine import stats
from core.machine.project import lacking
from tests import optional
from tests.fake_cuda import Cards, make
from tests.gpu.support import Corpus, DeviceHarness, corpus_of_this_machine
from tests.product import Product, build

HERE = Path(__file__).resolve().parent
TIMEOUT_S = 180


def pytest_addoption(parser: pytest.Parser) -> None:
    what = "cpu, fake: try the tests of tests/gpu without a card"
    parser.addoption("--device", choices=("cuda", "cpu", "fake"), default="cuda", help=what)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave this folder alone unless it, something in it or the mark `gpu` is asked for."""
    return optional.is_ignored(HERE, "gpu", config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    optional.mark_items(items, HERE, "gpu", TIMEOUT_S, why_skipped(asked_device(config)))


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [f"card: {gpu.name}, {(gpu.memory_total or 0) / 2**30:.1f} GiB" for gpu in stats.gpus()]


def asked_device(config: pytest.Config) -> str:
    return str(config.getoption("--device", "cuda"))


def why_skipped(device: str) -> str:
    """Why tests on this device cannot run here; '' when they can."""
    lack = lacking("cuda", len(stats.gpu_memory())) if device == "cuda" else ""
    return f"needs a CUDA card: {lack}" if lack else ""


@pytest.fixture(scope="session")
def cards(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Cards | None:
    """The fake card, with --device fake."""
    return make(tmp_path_factory.mktemp("cards") / "cards") if asked_device(request.config) == "fake" else None


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """The device by torch's name: cuda, which may be the fake, or cpu."""
    return "cpu" if asked_device(request.config) == "cpu" else "cuda"


@pytest.fixture(scope="session")
def real_device(device: str, cards: Cards | None) -> str:
    """For tests with processes of their own, which the fake does not reach: the card, or the CPU."""
    if cards is not None:
        pytest.skip("needs the card itself, or --device cpu")
    return device


@pytest.fixture(scope="session")
def gpu(device: str) -> str:
    """For tests of what a CPU does not have: the card, or the fake."""
    if device != "cuda":
        pytest.skip("needs a GPU")
    return device


@pytest.fixture(scope="session")
def card(gpu: str, real_device: str) -> str:
    """For tests of what only a real card has."""
    return real_device


@pytest.fixture(scope="session")
def device_harness(
    tiny_data: Path, device: str, cards: Cards | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DeviceHarness]:
    """One fork server for all tests: what one experiment breaks, the next would notice."""
    made = DeviceHarness(tiny_data, tmp_path_factory.mktemp("jobs"), device, cards)
    yield made
    made.close()


@pytest.fixture(scope="session")
def corpus(device: str, cards: Cards | None, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Prepared data with the vocabulary of the GPU profiles; a tiny one without a card."""
    return corpus_of_this_machine(tmp_path_factory.mktemp("corpus"), small=device == "cpu" or cards is not None)


@pytest.fixture
def device_product(tmp_path: Path, corpus: Corpus, cards: Cards | None) -> Iterator[Product]:
    """A whole product in a temporary folder, on the data of `corpus`."""
    made = build(tmp_path, (corpus.text, corpus.data), cards)
    yield made
    for process in made.started:
        process.kill()
        process.wait()
